//! What the node counts, and how it is named; the table is what `--list-metrics` prints.
//!
//! Labels are groups, outcomes and codes: never a key, a client or an address.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

pub mod export;
pub mod table;

/// Everything the adapters count themselves. Cheap to clone; clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// What loads cost.
    pub loads: LoadMetrics,
    /// How calls to other nodes ended.
    pub peers: PeerMetrics,
    /// What became of snapshots offered.
    pub snapshots: SnapshotMetrics,
    /// What the listeners saw.
    pub connections: ConnectionMetrics,
    /// Calls that were refused for their token.
    pub access: AccessMetrics,
}

impl Metrics {
    /// Registers what is counted here; see [`export::Exporter`] for the rest.
    pub fn register(&self, registry: &mut Registry) {
        self.peers.begin();
        self.snapshots.begin();
        self.connections.begin();
        self.access.begin();
        let mut add = Adder { registry };
        add.family("groupcache_load_duration_seconds", self.loads.duration.clone());
        add.family("groupcache_load_queue_wait_seconds", self.loads.waited.clone());
        add.family("groupcache_loads_shed_total", self.loads.shed.clone());
        add.family("groupcache_load_retries_total", self.loads.retries.clone());
        add.family("groupcache_loads_refused_total", self.loads.refused.clone());
        add.family("groupcache_peer_requests_total", self.peers.requests.clone());
        add.family("groupcache_peer_breakers_opened_total", self.peers.silenced.clone());
        add.family("groupcache_peer_breakers_open", self.peers.silent.clone());
        add.family("groupcache_snapshots_total", self.snapshots.outcomes.clone());
        add.family("groupcache_connections_total", self.connections.opened.clone());
        add.family("groupcache_connections_refused_total", self.connections.refused.clone());
        add.family("groupcache_access_refused_total", self.access.refused.clone());
    }
}

/// Registers under the names and words of the table.
struct Adder<'a> {
    registry: &'a mut Registry,
}

impl Adder<'_> {
    fn family(&mut self, name: &str, metric: impl prometheus_client::registry::Metric) {
        if let Some(row) = table::METRICS.iter().find(|row| row.name == name) {
            match row.unit() {
                Some(unit) => self.registry.register_with_unit(row.stem(), row.help, unit, metric),
                None => self.registry.register(row.stem(), row.help, metric),
            }
        }
    }
}

/// One group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GroupLabel {
    /// Its name.
    pub group: String,
}

/// One group and how a load ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LoadLabels {
    /// The group's name.
    pub group: String,
    /// How it ended.
    pub outcome: LoadOutcome,
}

/// How a load ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoadOutcome {
    /// With a value.
    Value,
    /// With "no such key".
    NotFound,
    /// With a failure.
    Error,
}

impl EncodeLabelValue for LoadOutcome {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let word = match self {
            LoadOutcome::Value => "value",
            LoadOutcome::NotFound => "not_found",
            LoadOutcome::Error => "error",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

/// What loads cost, by group.
#[derive(Clone, Debug)]
pub struct LoadMetrics {
    duration: Family<LoadLabels, Histogram, fn() -> Histogram>,
    waited: Family<GroupLabel, Histogram, fn() -> Histogram>,
    shed: Family<GroupLabel, Counter>,
    retries: Family<GroupLabel, Counter>,
    refused: Family<GroupLabel, Counter>,
}

impl Default for LoadMetrics {
    fn default() -> Self {
        // From a millisecond to 16 s in steps of two.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        LoadMetrics {
            duration: Family::new_with_constructor(seconds),
            waited: Family::new_with_constructor(seconds),
            shed: Family::default(),
            retries: Family::default(),
            refused: Family::default(),
        }
    }
}

impl LoadMetrics {
    /// A group is there: its series begin at zero, so that the first event is seen as a change.
    pub fn begin(&self, group: &Arc<str>) {
        let label = GroupLabel { group: group.to_string() };
        drop(self.waited.get_or_create(&label));
        for counter in [&self.shed, &self.retries, &self.refused] {
            drop(counter.get_or_create(&label));
        }
        for outcome in [LoadOutcome::Value, LoadOutcome::NotFound, LoadOutcome::Error] {
            drop(self.duration.get_or_create(&LoadLabels { group: group.to_string(), outcome }));
        }
    }

    /// A group is gone, and so are its series.
    pub fn end(&self, group: &Arc<str>) {
        let label = GroupLabel { group: group.to_string() };
        self.waited.remove(&label);
        for counter in [&self.shed, &self.retries, &self.refused] {
            counter.remove(&label);
        }
        for outcome in [LoadOutcome::Value, LoadOutcome::NotFound, LoadOutcome::Error] {
            self.duration.remove(&LoadLabels { group: group.to_string(), outcome });
        }
    }

    /// A load of `group` has ended.
    pub fn loaded(&self, group: &Arc<str>, outcome: LoadOutcome, took: Duration) {
        let labels = LoadLabels { group: group.to_string(), outcome };
        self.duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// A load of `group` got its place, or gave up waiting for one.
    pub fn waited(&self, group: &Arc<str>, waited: Duration) {
        self.waited.get_or_create(&GroupLabel { group: group.to_string() }).observe(waited.as_secs_f64());
    }

    /// A load of `group` is tried once more.
    pub fn retried(&self, group: &Arc<str>) {
        self.retries.get_or_create(&GroupLabel { group: group.to_string() }).inc();
    }

    /// A load of `group` was not sent, because the breaker is open.
    pub fn refused(&self, group: &Arc<str>) {
        self.refused.get_or_create(&GroupLabel { group: group.to_string() }).inc();
    }

    /// A load of `group` was refused, because bounds were met.
    pub fn shed(&self, group: &Arc<str>) {
        self.shed.get_or_create(&GroupLabel { group: group.to_string() }).inc();
    }
}

/// How a call to another node ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PeerLabels {
    /// The call: fetch, fetch_many, purge, store, peek, beat, bar, snapshot or announce.
    pub call: &'static str,
    /// ok, unreachable, refused or deadline.
    pub code: &'static str,
}

/// How calls to other nodes ended.
#[derive(Clone, Debug, Default)]
pub struct PeerMetrics {
    requests: Family<PeerLabels, Counter>,
    silenced: Counter,
    silent: Gauge,
}

impl PeerMetrics {
    /// A node is not asked any more: it has shown no sign of life.
    pub fn not_asked(&self) {
        self.silenced.inc();
        self.silent.inc();
    }

    /// It is asked again, or gone.
    pub fn asked_again(&self) {
        self.silent.dec();
    }

    fn begin(&self) {
        for call in ["fetch", "fetch_many", "purge", "store", "peek", "beat", "bar", "snapshot", "announce"] {
            for code in ["ok", "unreachable", "refused", "deadline"] {
                drop(self.requests.get_or_create(&PeerLabels { call, code }));
            }
        }
    }

    /// A call has ended.
    pub fn ended(&self, call: &'static str, code: &'static str) {
        self.requests.get_or_create(&PeerLabels { call, code }).inc();
    }
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SnapshotLabels {
    /// adopted, unchanged, older or refused.
    pub outcome: &'static str,
}

/// What became of the snapshots that were offered.
#[derive(Clone, Debug, Default)]
pub struct SnapshotMetrics {
    outcomes: Family<SnapshotLabels, Counter>,
}

impl SnapshotMetrics {
    fn begin(&self) {
        for outcome in ["adopted", "unchanged", "older", "refused"] {
            drop(self.outcomes.get_or_create(&SnapshotLabels { outcome }));
        }
    }

    /// A snapshot was judged.
    pub fn judged(&self, outcome: &'static str) {
        self.outcomes.get_or_create(&SnapshotLabels { outcome }).inc();
    }
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PortLabel {
    /// data or cluster.
    pub port: &'static str,
}

/// What the listeners saw.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    opened: Family<PortLabel, Counter>,
    refused: Family<PortLabel, Counter>,
}

impl ConnectionMetrics {
    fn begin(&self) {
        for port in ["data", "cluster"] {
            drop(self.opened.get_or_create(&PortLabel { port }));
            drop(self.refused.get_or_create(&PortLabel { port }));
        }
    }

    /// A connection was taken.
    pub fn opened(&self, port: &'static str) {
        self.opened.get_or_create(&PortLabel { port }).inc();
    }

    /// A connection was closed at once: over the cap, or silent.
    pub fn refused(&self, port: &'static str) {
        self.refused.get_or_create(&PortLabel { port }).inc();
    }
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabel {
    /// missing, malformed, unknown, not_allowed or not_ready.
    pub reason: &'static str,
}

/// Calls that were refused for their token.
#[derive(Clone, Debug, Default)]
pub struct AccessMetrics {
    refused: Family<RefusalLabel, Counter>,
}

impl AccessMetrics {
    fn begin(&self) {
        for reason in ["missing", "malformed", "unknown", "not_allowed", "not_ready"] {
            drop(self.refused.get_or_create(&RefusalLabel { reason }));
        }
    }

    /// A call was refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&RefusalLabel { reason }).inc();
    }
}
