//! What a group is: its name, its limits and its times.

use std::sync::Arc;
use std::time::Duration;

use crate::cache::StoreKind;

/// What a group is: limits and times. Bytes and durations; see each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 1 to 63 of `[A-Za-z0-9._-]`.
    pub name: Arc<str>,
    /// Other names under which doors know it; any text.
    pub aliases: Vec<String>,
    /// Memory for its entries at this node, main and hot together, in bytes. No entry takes more than an eighth of its cache.
    pub max_bytes: u64,
    /// Percent of `max_bytes` for copies of other owners' keys, 0 to 50; 0: none are kept.
    pub hot_percent: u32,
    /// What holds the entries.
    pub store: StoreKind,
    /// For how long a value may be used; `None`: it does not expire. Up to a tenth less, different for each key.
    pub ttl: Option<Duration>,
    /// For how long "no such key" is kept; `None`: it is not.
    pub negative_ttl: Option<Duration>,
    /// For how long an expired value is answered at once while the owner refreshes it; zero: not at all.
    pub stale_while_revalidate: Duration,
    /// For how long an expired value is answered where the loader fails; zero: not at all.
    pub stale_if_error: Duration,
    /// The last percent of a ttl, 0 to 50, in which a hit at the owner refreshes the entry; 0: none does.
    pub early_refresh_percent: u32,
    /// For how long after a purge, and after the process started, what is loaded is answered but not kept: for sources that read from replicas.
    pub source_lag: Duration,
    /// What becomes of a load that was sent and that nobody waits for any more.
    pub abandoned_loads: AbandonedLoads,
    /// Longest key in bytes.
    pub max_key_bytes: usize,
    /// Largest value in bytes that is kept.
    pub max_value_bytes: usize,
    /// When a load is given up, counted from its start.
    pub load_timeout: Duration,
    /// For how long a purge keeps a key's window open, and how long it may take.
    pub purge_timeout: Duration,
    /// What happens at a node that holds no grants.
    pub on_quorum_loss: QuorumLoss,
}

/// What a node does with its copies while it cannot know whether a Remove has passed it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuorumLoss {
    /// Every Get is loaded and nothing is kept: a Remove holds.
    #[default]
    PassThrough,
    /// It goes on serving what it holds: a Remove does not hold there while it is cut off, nor does its bound.
    ServeStale,
}

/// What becomes of a load that was sent and that nobody waits for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbandonedLoads {
    /// It runs on and is kept: or a key slower than its callers would never be filled.
    #[default]
    Finish,
    /// It is dropped with its last caller: for sources to which a query nobody wants is a burden.
    Cancel,
}

impl Settings {
    /// A group of that name and budget, and the rest as most groups want it: values up to 1 MiB that do not expire, "no such key" not kept,
    /// nothing stale, no refresh ahead of time, a tenth of the memory for hot copies, 5 s for a load, 1 s for a purge.
    #[must_use]
    pub fn new(name: &str, max_bytes: u64) -> Self {
        Settings {
            name: name.into(),
            aliases: Vec::new(),
            max_bytes,
            hot_percent: 10,
            store: StoreKind::default(),
            ttl: None,
            negative_ttl: None,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            early_refresh_percent: 0,
            source_lag: Duration::ZERO,
            abandoned_loads: AbandonedLoads::Finish,
            max_key_bytes: 1024,
            max_value_bytes: 1024 * 1024,
            load_timeout: Duration::from_secs(5),
            purge_timeout: Duration::from_secs(1),
            on_quorum_loss: QuorumLoss::default(),
        }
    }
}
