//! What a seed decides before anything runs: how large the cluster is, its times, how busy and how troubled it is.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::group::Settings;
use groupcache_group::value::Key;

use crate::chance::Chance;

/// The group that every node has.
pub const GROUP: &str = "g";

/// Most nodes of a cluster.
pub const MOST_NODES: usize = 7;

/// Where the operator stands in tables of nodes.
pub const OPERATOR: usize = MOST_NODES;

/// Bytes for the entries of a node: nothing is ever evicted, so that only purges and time take copies away.
const BYTES: u64 = 512 << 10;

/// A run, before it begins. Times are milliseconds.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides all the rest.
    pub seed: u64,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// Grantors wanted: 1, 3, 5 or 7.
    pub grantors: usize,
    /// Keys that are asked for.
    pub keys: usize,
    /// The staleness bound.
    pub bound: u64,
    /// The purge timeout.
    pub window: u64,
    /// For how long a value may be used.
    pub ttl: Option<u64>,
    /// For how long an expired value is answered, while it is refreshed or the source fails.
    pub stale: u64,
    /// The last percent of a ttl in which a hit refreshes.
    pub early: u32,
    /// Gets, and Removes and Sets, in a thousand milliseconds.
    pub gets: u64,
    /// See `gets`.
    pub removes: u64,
    /// Between two faults, on average.
    pub between_faults: u64,
    /// Most faults at a time.
    pub faults: usize,
    /// Without faults at first, then with.
    pub calm: u64,
    /// With faults.
    pub trouble: u64,
}

impl Plan {
    /// What this seed decides.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 1);
        let bound = chance.one_of(&[1000, 1000, 2000, 5000]);
        let nodes = chance.number(3, 6) as usize;
        Plan {
            seed,
            nodes,
            grantors: chance.one_of(&[1, 3, 3, 3, 5, 7]),
            keys: chance.number(6, 25) as usize,
            bound,
            window: chance.one_of(&[200, 400, 1000]),
            ttl: chance.one_of(&[None, None, Some(2000), Some(10_000)]),
            stale: chance.one_of(&[0, 0, 2000, 6000]),
            early: chance.one_of(&[0, 0, 30]),
            gets: chance.number(150, 500),
            removes: chance.number(8, 30),
            between_faults: chance.number(300, 3000),
            faults: chance.number(1, 4) as usize,
            calm: 10_000,
            trouble: 40_000,
        }
    }

    /// The bound as a duration.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        Duration::from_millis(self.bound)
    }

    /// What the group is at every node.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            hot_percent: 40,
            ttl: self.ttl.map(Duration::from_millis),
            stale_while_revalidate: Duration::from_millis(self.stale),
            stale_if_error: Duration::from_millis(self.stale),
            early_refresh_percent: self.early,
            purge_timeout: Duration::from_millis(self.window),
            load_timeout: Duration::from_secs(3),
            ..Settings::new(GROUP, BYTES)
        }
    }

    /// The keys.
    #[must_use]
    pub fn all_keys(&self) -> Arc<[Key]> {
        (0..self.keys).filter_map(|at| Key::new(format!("key-{at}"), 64).ok()).collect()
    }
}
