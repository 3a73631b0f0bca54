//! What the operator counts.

use std::time::{Duration, SystemTime};

use groupcache_ring::Snapshot;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::certificates::State;
use crate::metrics::conditions::Conditions;
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

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
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
    lifetime: Family<OfCluster, Gauge>,
    conditions: Conditions,
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
            lifetime: Family::default(),
            conditions: Conditions::default(),
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
        let help =
            "For how long the authority behind the certificates is valid from its first day to its last";
        registry.register_with_unit(name("authority_lifetime"), help, Unit::Seconds, m.lifetime.clone());
        registry.register_collector(Box::new(m.conditions.clone()));
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

    /// What the conditions of a cluster's status say.
    pub fn conditions(&self, key: &Key, conditions: &[Condition]) {
        self.conditions.say(of(key), conditions);
    }

    /// What is said of a cluster's certificates, and how long their authority lives.
    pub fn certificates(&self, key: &Key, state: &State, lifetime: Option<Duration>) {
        match state {
            State::Disabled => self.forget_certificates(key),
            // Those that were issued are still in use, and run out: of all times not now must that be told no more.
            State::Missing(_) => {}
            State::Ready { leaf_until, authority_until, .. } => {
                for (certificate, until) in [("node", leaf_until), ("authority", authority_until)] {
                    let since = until.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                    self.expiry.get_or_create(&certificate_of(key, certificate)).set(seconds(since));
                }
                if let Some(lifetime) = lifetime {
                    self.lifetime.get_or_create(&of(key)).set(seconds(lifetime));
                }
            }
        }
    }

    /// A cluster is gone, and so are its series.
    pub fn forget(&self, key: &Key) {
        let of = of(key);
        for family in [&self.epoch, &self.sequence, &self.unconverged, &self.guarded, &self.earlier] {
            family.remove(&of);
        }
        self.conditions.forget(&of);
        self.forget_certificates(key);
    }

    fn forget_certificates(&self, key: &Key) {
        for certificate in ["node", "authority"] {
            self.expiry.remove(&certificate_of(key, certificate));
        }
        self.lifetime.remove(&of(key));
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn of(key: &Key) -> OfCluster {
    OfCluster { namespace: key.namespace.clone().unwrap_or_default(), cluster: key.name.clone() }
}

fn certificate_of(key: &Key, certificate: &str) -> Certificate {
    let OfCluster { namespace, cluster } = of(key);
    Certificate { namespace, cluster, certificate: certificate.to_owned() }
}

mod conditions;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::certificates::Fault;
    use crate::certificates::rotation::Phase;
    use crate::conditions::{AVAILABLE, Finding, PAUSED};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn key() -> Key {
        Key::new("c").within("n")
    }

    fn exported(registry: &Registry) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, registry).expect("text");
        text
    }

    /// The samples of one metric, without its name.
    fn samples<'a>(text: &'a str, metric: &str) -> BTreeSet<&'a str> {
        text.lines()
            .filter_map(|line| line.strip_prefix(metric))
            .filter(|rest| rest.starts_with('{'))
            .collect()
    }

    fn ready(left: Duration) -> State {
        let until = SystemTime::UNIX_EPOCH + left;
        State::Ready { phase: Phase::Steady, leaf_until: until, authority_until: until, fault: None }
    }

    fn condition(type_: &'static str, status: &'static str, reason: &'static str) -> Condition {
        Finding::new(type_, status, reason, "").condition(&[], None, Timestamp::UNIX_EPOCH)
    }

    /// Turned red by: series of what a condition said before, or of a cluster that is gone.
    #[test]
    fn a_condition_says_one_thing_and_nothing_once_its_cluster_is_gone() {
        const METRIC: &str = "groupcache_operator_cluster_condition";
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        let paused = condition(PAUSED, "False", "Managed");
        metrics.conditions(&key(), &[condition(AVAILABLE, "False", "NoNodeServes"), paused.clone()]);
        metrics.conditions(&key(), &[condition(AVAILABLE, "True", "Serving"), paused]);
        metrics.conditions(&Key::new("d").within("n"), &[condition(AVAILABLE, "Unknown", "NoNodes")]);
        let expected = [
            r#"{namespace="n",cluster="c",type="Available",status="True",reason="Serving"} 1"#,
            r#"{namespace="n",cluster="c",type="Paused",status="False",reason="Managed"} 1"#,
            r#"{namespace="n",cluster="d",type="Available",status="Unknown",reason="NoNodes"} 1"#,
        ];
        assert_eq!(samples(&exported(&registry), METRIC), BTreeSet::from(expected));
        metrics.forget(&key());
        assert_eq!(samples(&exported(&registry), METRIC), BTreeSet::from([expected[2]]));
    }

    /// Turned red by: an alert on a certificate that ends when it cannot be renewed, of all times.
    #[test]
    fn the_end_of_a_certificate_is_told_also_while_it_cannot_be_renewed() {
        const METRIC: &str = "groupcache_operator_certificate_expiry_timestamp_seconds";
        const LIFETIME: &str = "groupcache_operator_authority_lifetime_seconds";
        let mut registry = Registry::default();
        let metrics = Metrics::new(&mut registry);
        metrics.certificates(&key(), &ready(DAY), Some(DAY * 2));
        let missing = State::Missing(Fault::SecretMissing("mine".into()));
        metrics.certificates(&key(), &missing, None);
        let expected = [
            r#"{namespace="n",cluster="c",certificate="authority"} 86400"#,
            r#"{namespace="n",cluster="c",certificate="node"} 86400"#,
        ];
        assert_eq!(samples(&exported(&registry), METRIC), BTreeSet::from(expected));
        let expected = r#"{namespace="n",cluster="c"} 172800"#;
        assert_eq!(samples(&exported(&registry), LIFETIME), BTreeSet::from([expected]));
        metrics.certificates(&key(), &State::Disabled, None);
        let text = exported(&registry);
        assert_eq!((samples(&text, METRIC), samples(&text, LIFETIME)), Default::default());
        metrics.certificates(&key(), &ready(DAY), Some(DAY));
        metrics.forget(&key());
        let text = exported(&registry);
        assert_eq!((samples(&text, METRIC), samples(&text, LIFETIME)), Default::default());
    }

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
        metrics.in_force(&key(), &snapshot, 0, 0);
        metrics.certificates(&key(), &ready(DAY), Some(DAY));
        metrics.conditions(&key(), &[condition(AVAILABLE, "True", "Serving")]);
        let text = exported(&registry);
        let kinds: Vec<Vec<&str>> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| line.split(' ').collect())
            .collect();
        assert!(kinds.len() >= 13, "{text}");
        for kind in kinds {
            let total = if kind[1] == "counter" { "_total" } else { "" };
            let row = format!("| `{}{total}` | {} |", kind[0], kind[1]);
            assert!(reference.contains(&row), "docs/operations/metrics.md lacks the row {row}");
        }
    }
}
