//! What every reconcile needs, what is remembered between two looks at a cluster, and how one may fail.

use std::collections::HashMap;
use std::time::Duration;

use groupcache_crds::CacheCluster;
use groupcache_ring::Version;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::applied::{Applied, Children};
use crate::certificates::Shown;
use crate::lease::Claim;
use crate::ledger::Refused;
use crate::ledger::settle::Settling;
use crate::metrics::Metrics;
use crate::monitors;
use crate::names::Key;
use crate::plan::Defaults;
use crate::push::Push;
use crate::roster::Holds;

/// Pause before a second look after another writer was faster.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// What every reconcile needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What plans need.
    pub defaults: Defaults,
    /// The nodes.
    pub push: Push,
    /// Where events go.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Metrics,
    /// Says whether this process still leads.
    pub claim: Claim,
    /// Cancelled when this process may no longer write.
    pub deposed: CancellationToken,
    /// The children as the watches see them.
    pub children: Children,
    /// What is remembered between two looks.
    pub memory: Mutex<HashMap<Key, Memory>>,
    /// Failures in a row.
    pub failures: Mutex<HashMap<Key, u32>>,
}

/// What is remembered of one cluster between two looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    cluster_uid: String,
    /// The children as they were applied last.
    pub applied: Applied,
    /// The PodMonitor as it was seen last.
    pub monitor: monitors::Known,
    /// The version this process wrote last.
    pub written: Option<Version>,
    /// Bounds of the roster that run.
    pub holds: Holds,
    /// Who has adopted what, and since when.
    pub settling: Settling,
    /// What this process shows the nodes.
    pub shown: Option<Shown>,
}

/// Why a reconcile did not end.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// Another operator has taken over, or the membership is faulty.
    #[error(transparent)]
    Ledger(#[from] Refused),
    /// The ledger has an epoch that nobody with the Lease wrote.
    #[error(
        "the ledger was changed by somebody who does not lead; what it holds now is taken up under a higher epoch"
    )]
    Overwritten,
    /// This process may no longer write.
    #[error("this operator no longer leads")]
    Deposed,
}

impl Error {
    /// True if another writer was faster; nothing is wrong then.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Api(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists())
    }
}

impl Context {
    /// What is remembered of this cluster.
    #[must_use]
    pub fn recall(&self, key: &Key, cluster: &CacheCluster) -> Memory {
        let uid = cluster.uid().unwrap_or_default();
        let memory = self.memory.lock().get(key).cloned();
        match memory {
            Some(memory) if memory.cluster_uid == uid => memory,
            Some(_) => {
                // A cluster made anew under an old name has no past: what is pushed to its namesake's nodes may even have the
                // version of its own first snapshot.
                self.forget(key);
                Memory { cluster_uid: uid, ..Memory::default() }
            }
            None => Memory { cluster_uid: uid, ..Memory::default() },
        }
    }

    /// Remembers that.
    pub fn remember(&self, key: &Key, memory: Memory) {
        self.memory.lock().insert(key.clone(), memory);
    }

    /// The cluster is gone: so are its tasks, its series and what was remembered.
    pub fn forget(&self, key: &Key) {
        self.push.forget(key);
        self.metrics.forget(key);
        self.memory.lock().remove(key);
        self.failures.lock().remove(key);
    }

    /// One more failure in a row; how many there are.
    pub fn failed(&self, key: Key) -> u32 {
        let mut failures = self.failures.lock();
        let count = failures.entry(key).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    /// How long to wait after an error.
    #[must_use]
    pub fn pause_after(&self, error: &Error, failures: u32) -> Duration {
        if error.is_conflict() {
            return AFTER_CONFLICT;
        }
        let pause = Duration::from_millis(500) * 2_u32.pow(failures.min(7));
        pause.mul_f64(rand::random_range(0.75..=1.25))
    }
}

#[cfg(test)]
mod tests;
