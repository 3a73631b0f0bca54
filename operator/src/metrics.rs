//! What the operator counts.

use std::time::SystemTime;

use groupcache_ring::Snapshot;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::certificates::State;
use crate::names::Key;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReconcileResult {
    /// Everything was done.
    Done,
    /// Someone else wrote meanwhile; it is tried again.
    Conflict,
    /// The API server refused a request; it is tried again.
    Refused,
    /// The API server did not answer, or with a failure of its own; it is tried again.
    Unanswered,
    /// It did not end in time; it is tried again.
    TimedOut,
    /// It failed in another way; it is tried again.
    Failed,
}

/// How a push ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum PushResult {
    /// The node has it in force.
    Acknowledged,
    /// The node has a newer one.
    Older,
    /// The node found faults in it.
    Refused,
    /// No answer.
    Unreachable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pushed {
    result: PushResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCluster {
    namespace: String,
    cluster: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    namespace: String,
    cluster: String,
    certificate: String,
}

/// The operator's counters. Cheap to clone; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    reconciles: Family<Reconciled, Counter>,
    duration: Histogram,
    pushes: Family<Pushed, Counter>,
    leader: Gauge,
    evictions: Counter,
    guarded: Family<OfCluster, Gauge>,
    epoch: Family<OfCluster, Gauge>,
    sequence: Family<OfCluster, Gauge>,
    unconverged: Family<OfCluster, Gauge>,
    earlier: Family<OfCluster, Gauge>,
    expiry: Family<Certificate, Gauge>,
}

impl Metrics {
    /// Counters in this registry.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Metrics {
            reconciles: Family::default(),
            duration: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            pushes: Family::default(),
            leader: Gauge::default(),
            evictions: Counter::default(),
            guarded: Family::default(),
            epoch: Family::default(),
            sequence: Family::default(),
            unconverged: Family::default(),
            earlier: Family::default(),
            expiry: Family::default(),
        };
        let name = |short: &str| format!("groupcache_operator_{short}");
        let m = &metrics;
        registry.register(name("reconciles"), "Reconciles, by how they ended", m.reconciles.clone());
        let help = "Time one reconcile takes";
        registry.register_with_unit(name("reconcile_duration"), help, Unit::Seconds, m.duration.clone());
        registry.register(
            name("pushes"),
            "Snapshots sent to nodes, by what became of them",
            m.pushes.clone(),
        );
        registry.register(name("leader"), "1 while this process may write", m.leader.clone());
        registry.register(name("evictions"), "Pods evicted to replace them", m.evictions.clone());
        let help = "Members kept in the ring although they look gone";
        registry.register(name("guarded_members"), help, m.guarded.clone());
        registry.register(name("membership_epoch"), "Epoch in force", m.epoch.clone());
        registry.register(name("membership_sequence"), "Sequence in force", m.sequence.clone());
        let help = "Nodes that have not acknowledged the version in force";
        registry.register(name("unconverged_nodes"), help, m.unconverged.clone());
        let help = "Earlier memberships that still bind";
        registry.register(name("earlier_memberships"), help, m.earlier.clone());
        let help = "When the certificate of the nodes, or of the authority behind it, runs out, in seconds since 1970";
        registry.register_with_unit(
            name("certificate_expiry_timestamp"),
            help,
            Unit::Seconds,
            m.expiry.clone(),
        );
        metrics
    }

    /// A reconcile has ended.
    pub fn reconciled(&self, result: ReconcileResult, seconds: f64) {
        self.reconciles.get_or_create(&Reconciled { result }).inc();
        self.duration.observe(seconds);
    }

    /// A push has ended.
    pub fn pushed(&self, result: PushResult) {
        self.pushes.get_or_create(&Pushed { result }).inc();
    }

    /// This process leads, or no longer.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// A pod was evicted.
    pub fn evicted(&self) {
        self.evictions.inc();
    }

    /// What is in force in a cluster.
    pub fn in_force(&self, key: &Key, snapshot: &Snapshot, unconverged: usize, guarded: usize) {
        let (of, version) = (of(key), snapshot.version());
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.epoch.get_or_create(&of).set(number(version.epoch));
        self.sequence.get_or_create(&of).set(number(version.sequence));
        self.unconverged.get_or_create(&of).set(number(unconverged as u64));
        self.guarded.get_or_create(&of).set(number(guarded as u64));
        self.earlier.get_or_create(&of).set(number(snapshot.priors().len() as u64));
    }

    /// What is said of a cluster's certificates.
    pub fn certificates(&self, key: &Key, state: &State) {
        let until = match state {
            State::Ready { leaf_until, authority_until, .. } => {
                [("node", Some(*leaf_until)), ("authority", Some(*authority_until))]
            }
            State::Disabled | State::Missing(_) => [("node", None), ("authority", None)],
        };
        for (certificate, until) in until {
            let of = certificate_of(key, certificate);
            let since = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
            match since {
                Some(since) => {
                    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
                    self.expiry.get_or_create(&of).set(seconds);
                }
                None => drop(self.expiry.remove(&of)),
            }
        }
    }

    /// A cluster is gone, and so are its series.
    pub fn forget(&self, key: &Key) {
        let of = of(key);
        for family in [&self.epoch, &self.sequence, &self.unconverged, &self.guarded, &self.earlier] {
            family.remove(&of);
        }
        for certificate in ["node", "authority"] {
            self.expiry.remove(&certificate_of(key, certificate));
        }
    }
}

fn of(key: &Key) -> OfCluster {
    OfCluster { namespace: key.namespace.clone().unwrap_or_default(), cluster: key.name.clone() }
}

fn certificate_of(key: &Key, certificate: &str) -> Certificate {
    let OfCluster { namespace, cluster } = of(key);
    Certificate { namespace, cluster, certificate: certificate.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::rotation::Phase;

    #[test]
    fn the_reference_names_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/metrics.md");
        let reference = std::fs::read_to_string(path).expect("docs/operations/metrics.md");
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        // What has labels is there once it was counted.
        metrics.reconciled(ReconcileResult::Done, 0.1);
        metrics.pushed(PushResult::Older);
        let version = groupcache_ring::Version::new(1, 1);
        let snapshot = Snapshot::new("uid", version, version, Vec::new(), Vec::new()).expect("a snapshot");
        metrics.in_force(&Key::new("c").within("n"), &snapshot, 0, 0);
        let (leaf_until, authority_until) = (SystemTime::now(), SystemTime::now());
        let ready = State::Ready { phase: Phase::Steady, leaf_until, authority_until, fault: None };
        metrics.certificates(&Key::new("c").within("n"), &ready);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let kinds: Vec<Vec<&str>> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| line.split(' ').collect())
            .collect();
        assert!(kinds.len() >= 10, "{text}");
        for kind in kinds {
            let total = if kind[1] == "counter" { "_total" } else { "" };
            let row = format!("| `{}{total}` | {} |", kind[0], kind[1]);
            assert!(reference.contains(&row), "docs/operations/metrics.md lacks the row {row}");
        }
    }
}
