//! What each node last said about the snapshots it was sent: the one table that pushes write and decisions read.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use groupcache_ring::Version;
use parking_lot::Mutex;

/// What one node last said. All absent: it has not been reached yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What is in force there, and under which boot.
    pub applied: Option<Applied>,
    /// Why it refused what it was sent last.
    pub refusal: Option<Refusal>,
    /// Why it cannot be reached now.
    pub unreachable: Option<String>,
    /// Fingerprints of the certificate it shows and of the authorities it trusts.
    pub shown: Option<(String, String)>,
    /// How the loader of each group does there, by group and loader.
    pub loaders: BTreeMap<(String, String), Reach>,
}

/// Whether a loader answers one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It was not asked yet.
    NotAsked,
    /// It does.
    Answers,
    /// It does not, and this is what the node said when it began to fail. What it says later is not news.
    Fails(String),
}

/// What is in force at a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The version.
    pub version: Version,
    /// The hash of its ring.
    pub ring_hash: u64,
    /// The node's boot id.
    pub boot: u64,
}

/// A snapshot that a node refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which.
    pub version: Version,
    /// Every fault it found.
    pub faults: Vec<String>,
}

impl Report {
    /// True if at least this version is in force there, as far as is known.
    #[must_use]
    pub fn has(&self, version: Version) -> bool {
        self.applied.is_some_and(|applied| applied.version >= version)
    }
}

/// The reports of one cluster's nodes, by pod uid. Cheap to clone; clones are the same table.
///
/// The lock is held for a look or a change, never across a wait.
#[derive(Clone, Debug, Default)]
pub struct Reports {
    by_uid: Arc<Mutex<HashMap<String, Report>>>,
}

impl Reports {
    /// Notes what a node said; true if that is news.
    #[must_use]
    pub fn note(&self, uid: &str, change: impl FnOnce(&mut Report)) -> bool {
        let mut reports = self.by_uid.lock();
        let report = reports.entry(uid.to_owned()).or_default();
        let before = report.clone();
        change(report);
        *report != before
    }

    /// Forgets nodes that are gone.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.by_uid.lock().retain(|uid, _| keep(uid));
    }

    /// All of them, as they are now.
    #[must_use]
    pub fn all(&self) -> HashMap<String, Report> {
        self.by_uid.lock().clone()
    }
}

/// The highest version that any of these nodes has in force.
#[must_use]
pub fn highest(reports: &HashMap<String, Report>) -> Version {
    let applied = reports.values().filter_map(|report| report.applied);
    applied.map(|applied| applied.version).max().unwrap_or_default()
}
