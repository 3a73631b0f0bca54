//! Whether versions of the membership only rise: at every node, and in the status that people read.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::Value;

use crate::cachecluster::NAME;
use crate::fleet::{Fleet, Lookout};
use crate::http;
use crate::kubectl::Kubectl;
use crate::machines::Machines;
use crate::scenario::grouped;
use crate::wait::{self, Seen};
use crate::watch::Watch;

/// Between two looks at all nodes.
const PAUSE: Duration = Duration::from_millis(100);
/// A node that does not answer by then is away.
const PATIENCE: Duration = Duration::from_millis(500);
/// A Lease that runs out, and what follows.
const LIMIT: Duration = Duration::from_secs(120);
const ADMIN_PORT: u16 = 9090;
/// What the watch says of the object.
const LINE: &str = "{.metadata.uid} {.status.membership.epoch} {.status.membership.sequence}";

/// The order of memberships; 0.0: none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Raised by every operator that takes over.
    pub epoch: u64,
    /// Raised by every change.
    pub sequence: u64,
}

impl Version {
    /// From `epoch.sequence`, or the two with a blank between them.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (epoch, sequence) = text.trim().split_once(['.', ' '])?;
        Some(Self { epoch: epoch.parse().ok()?, sequence: sequence.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

/// Looks at versions until it is ended.
#[derive(Debug)]
pub struct Versions {
    over: Arc<AtomicBool>,
    looker: JoinHandle<Account>,
    status: Watch,
}

/// What was seen at the nodes.
#[derive(Debug, Default)]
struct Account {
    looks: u64,
    /// By pod.
    newest: BTreeMap<String, Version>,
    went_back: Vec<String>,
}

impl Versions {
    /// Begins.
    ///
    /// # Errors
    /// When the cluster's network cannot be entered.
    pub fn watch(kubectl: &Kubectl, machines: &Machines, fleet: &Fleet) -> Result<Self> {
        let status = Watch::begin(kubectl, "versions", &["cc", NAME], LINE)?;
        let over = Arc::new(AtomicBool::new(false));
        let (until, lookout) = (Arc::clone(&over), fleet.lookout());
        let looker = machines.visit(|| Ok(thread::spawn(move || look(&lookout, &until))))?;
        Ok(Self { over, looker, status })
    }

    /// Ends it; answers in words what was seen.
    ///
    /// # Errors
    /// When a version went back, or none was seen.
    pub fn end(self) -> Result<String> {
        self.over.store(true, Ordering::Relaxed);
        let account = self.looker.join().map_err(|_| anyhow!("whoever looked at versions panicked"))?;
        ensure!(account.went_back.is_empty(), "nodes went back: {}", account.went_back.join("; "));
        let said = self.status.said();
        let told = told(&said);
        let back = fallen(&told);
        ensure!(back.is_empty(), "the status went back: {}", back.join("; "));
        ensure!(account.looks > 0 && !told.is_empty(), "no version was seen");
        let (first, last) = (told[0].1, told[told.len() - 1].1);
        Ok(format!(
            "versions only rose, from {first} to {last}, in {} looks at {} pods and in {} statuses",
            grouped(account.looks),
            account.newest.len(),
            told.len()
        ))
    }
}

/// The version of the ledger.
///
/// # Errors
/// When there is no ledger, or none in it.
pub fn of_ledger(kubectl: &Kubectl) -> Result<Version> {
    in_ledger(&kubectl.get("configmap", &format!("{NAME}-ledger"))?)
}

/// The version that a ledger names.
///
/// # Errors
/// When it names none.
pub fn in_ledger(ledger: &Value) -> Result<Version> {
    let text = ledger["data"]["version"].as_str().unwrap_or_default();
    Version::read(text).with_context(|| format!("the ledger is at {text:?}"))
}

/// Waits until the ledger is above a version; answers at which.
///
/// # Errors
/// When it stays where it is.
pub fn wait_ledger_above(kubectl: &Kubectl, before: Version) -> Result<Version> {
    wait::until(&format!("a ledger above {before}"), LIMIT, || {
        let now = of_ledger(kubectl)?;
        Ok(if now > before { Seen::Reached(now) } else { Seen::NotYet(now.to_string()) })
    })
}

fn look(lookout: &Lookout, over: &AtomicBool) -> Account {
    let mut account = Account::default();
    while !over.load(Ordering::Relaxed) {
        for pod in lookout.located() {
            let admin = SocketAddr::new(pod.address, ADMIN_PORT);
            let page = http::get_within(admin, "/metrics", PATIENCE);
            if let Some(version) = page.ok().and_then(|page| in_metrics(&page.body)) {
                account.note(&pod.uid, version);
            }
        }
        thread::sleep(PAUSE);
    }
    account
}

impl Account {
    fn note(&mut self, pod: &str, version: Version) {
        self.looks += 1;
        let newest = self.newest.entry(pod.to_owned()).or_default();
        if version < *newest {
            self.went_back.push(format!("pod {pod} from {newest} to {version}"));
        }
        *newest = version.max(*newest);
    }
}

/// The version that a node's metrics name.
fn in_metrics(page: &str) -> Option<Version> {
    let gauge = |name: &str| {
        let line =
            page.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches("{}").strip_prefix(' '));
        line?.trim().parse::<f64>().ok().map(|number| number as u64)
    };
    Some(Version { epoch: gauge("groupcache_view_epoch")?, sequence: gauge("groupcache_view_sequence")? })
}

/// The versions that a watch of the object has told, in order, each with the object's uid; a status that names none is left out.
fn told(said: &str) -> Vec<(&str, Version)> {
    let told = said.lines().filter_map(|line| line.split_once(' '));
    told.filter_map(|(uid, version)| Some((uid, Version::read(version)?))).collect()
}

/// Where one went back; another object of the same name begins anew.
fn fallen(versions: &[(&str, Version)]) -> Vec<String> {
    let pairs = versions.windows(2).filter(|pair| pair[1].0 == pair[0].0 && pair[1].1 < pair[0].1);
    pairs.map(|pair| format!("from {} to {}", pair[0].1, pair[1].1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_falls_is_told_and_one_that_rises_or_stays_is_not() {
        assert!(fallen(&told("a 1 9\na  \na 1 10\na 1 10\na 2 1\nb 1 1\n")).is_empty());
        assert_eq!(fallen(&told("a 2 1\na 1 10\n")), ["from 2.1 to 1.10"]);

        let mut account = Account::default();
        account.note("a", Version { epoch: 2, sequence: 1 });
        account.note("b", Version { epoch: 1, sequence: 1 });
        assert!(account.went_back.is_empty());
        account.note("a", Version { epoch: 1, sequence: 7 });
        assert_eq!(account.went_back, ["pod a from 2.1 to 1.7"]);
    }

    #[test]
    fn a_version_is_read_from_metrics() {
        let page = "# TYPE x gauge\ngroupcache_view_epoch 3\ngroupcache_view_sequence 14\n";

        assert_eq!(in_metrics(page), Some(Version { epoch: 3, sequence: 14 }));
        assert_eq!(in_metrics("groupcache_view_epoch 3\n"), None);
    }
}
