//! What every reconcile needs, what is remembered between two looks at a cluster, and how one may fail.

use std::collections::HashMap;
use std::time::Duration;

use groupcache_crds::CacheCluster;
use groupcache_ring::Version;
use kube::runtime::events::Recorder;
use kube::{Client, ResourceExt};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::applied::{Applied, Children};
use crate::certificates;
use crate::certificates::Shown;
use crate::conditions::reason::RECONCILE_FAILED;
use crate::lease::Claim;
use crate::ledger::Refused;
use crate::ledger::settle::Settling;
use crate::metrics::Metrics;
use crate::monitors;
use crate::names::Key;
use crate::plan::Defaults;
use crate::pods::{self, Problem};
use crate::push::Push;
use crate::roster::Holds;

/// So many failures in a row are told in the status: one or two happen while an API server restarts.
const TOLD_AFTER: u32 = 3;
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
    /// What was last said of the certificates.
    pub secured: Option<certificates::State>,
    /// The Secrets that were not there, or of no use, when they were last looked at.
    pub pending: Vec<String>,
    /// Since when pods are missing.
    pub missing_since: Option<Instant>,
    /// Looks in a row that waited for something nobody tells of.
    pub waited: u32,
}

impl Memory {
    /// What is said of the certificates: what was found now, or else what was last.
    pub fn secured(&mut self, now: Option<certificates::State>) -> certificates::State {
        let state = now.or(self.secured.take());
        let state = state.unwrap_or(certificates::State::Missing(certificates::Fault::Unread));
        self.secured.insert(state).clone()
    }

    /// Counts a look that waits for something nobody tells of; answers how many there are in a row, 0 after one that does not.
    pub fn waits(&mut self, waits: bool) -> u32 {
        self.waited = if waits || self.missing_since.is_some() { self.waited.saturating_add(1) } else { 0 };
        self.waited
    }
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
    /// It was put off until the ring had its turn, and the status tells it.
    #[error(transparent)]
    Told(Box<Error>),
    /// It did not end in time.
    #[error("the reconcile did not end within {} s: the API server takes requests and does not answer", .0.as_secs())]
    TooLong(Duration),
    /// It panicked.
    #[error("the reconcile panicked, which is a fault of the operator: {0}")]
    Panicked(String),
}

impl Error {
    /// The error itself, whether the status tells it or not.
    #[must_use]
    pub fn cause(&self) -> &Error {
        match self {
            Error::Told(cause) => cause,
            error => error,
        }
    }

    /// True if another writer was faster; nothing is wrong then.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.cause(), Error::Api(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists())
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

    /// What the status is to say of an error: nothing of the first two in a row, of one that only says that another was faster, or of one that it tells already.
    #[must_use]
    pub fn persistent(&self, key: &Key, error: &Error) -> Option<Problem> {
        let passes =
            error.is_conflict() || matches!(error, Error::Deposed | Error::Overwritten | Error::Told(_));
        // Those before: this one is counted when it is answered.
        let before = self.failures.lock().get(key).copied().unwrap_or(0);
        (!passes && before + 1 >= TOLD_AFTER)
            .then(|| Problem { reason: RECONCILE_FAILED, text: pods::clipped(&error.to_string()) })
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
