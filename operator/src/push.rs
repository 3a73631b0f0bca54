//! Tells every node what the ledger holds: one task for each pod, each at its own pace, always the newest.
//!
//! What a node answers is noted in the cluster's [`Reports`]; whatever is news wakes the reconciler. A node that has acknowledged is told
//! again, and may keep its answer back until something has changed there: a node at rest costs a message every half minute, and one that is
//! restarted is found at once, for its connection ends.

mod node;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use groupcache_proto::cluster::SignedSnapshot;
use groupcache_ring::Version;
use groupcache_tls::keeper::Keeper;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::names::Key;
use crate::report::Reports;
use crate::wakes::Wakes;

/// What is pushed: exactly what the ledger holds.
#[derive(Clone, Debug)]
pub struct Published {
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub snapshot: SignedSnapshot,
}

/// Whom to push to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Host and port of its cluster port.
    pub address: String,
    /// What is shown there; `None`: the port is open.
    pub keeper: Option<Keeper>,
}

impl Target {
    /// Whether it is the same pod, reached in the same way.
    fn is(&self, other: &Target) -> bool {
        let of = |target: &Target| (target.pod_uid.clone(), target.address.clone(), target.name.clone());
        of(self) == of(other) && self.keeper.is_some() == other.keeper.is_some()
    }
}

/// Pushes to the nodes of every cluster.
#[derive(Debug)]
pub struct Push {
    clusters: Mutex<HashMap<Key, Cluster>>,
    wakes: Wakes,
    metrics: Metrics,
}

#[derive(Debug)]
struct Cluster {
    newest: watch::Sender<Option<Arc<Published>>>,
    reports: Reports,
    tasks: HashMap<String, (Target, AbortOnDropHandle<()>)>,
}

impl Push {
    /// Pushes nothing yet; whatever is news goes into `wakes`.
    #[must_use]
    pub fn new(wakes: Wakes, metrics: Metrics) -> Self {
        Push { clusters: Mutex::default(), wakes, metrics }
    }

    /// What the nodes of this cluster said.
    #[must_use]
    pub fn reports(&self, key: &Key) -> Reports {
        self.clusters.lock().get(key).map(|cluster| cluster.reports.clone()).unwrap_or_default()
    }

    /// From now on these pods are told this, and no others.
    pub fn publish(&self, key: &Key, published: Published, targets: Vec<Target>) {
        let mut clusters = self.clusters.lock();
        let cluster = clusters.entry(key.clone()).or_insert_with(|| Cluster {
            newest: watch::Sender::new(None),
            reports: Reports::default(),
            tasks: HashMap::new(),
        });
        cluster.newest.send_if_modified(|newest| {
            let older = newest.as_ref().is_none_or(|newest| newest.version != published.version);
            if older {
                *newest = Some(Arc::new(published));
            }
            older
        });
        cluster.tasks.retain(|_, (held, _)| targets.iter().any(|target| target.is(held)));
        cluster.reports.retain(|uid| targets.iter().any(|target| target.pod_uid == uid));
        for target in targets {
            if target.address.parse::<SocketAddr>().is_err() || cluster.tasks.contains_key(&target.pod_uid) {
                continue;
            }
            let task = node::Task {
                key: key.clone(),
                target: target.clone(),
                newest: cluster.newest.subscribe(),
                reports: cluster.reports.clone(),
                wakes: self.wakes.clone(),
                metrics: self.metrics.clone(),
            };
            let handle = AbortOnDropHandle::new(tokio::spawn(task.run()));
            cluster.tasks.insert(target.pod_uid.clone(), (target, handle));
        }
    }

    /// The cluster is gone: its tasks end and what its nodes said is forgotten.
    pub fn forget(&self, key: &Key) {
        self.clusters.lock().remove(key);
    }
}

#[cfg(test)]
mod tests;
