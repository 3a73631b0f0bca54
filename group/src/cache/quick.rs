//! A store made of quick_cache, used as a plain bounded map.
//!
//! Its bound is exact: an insert evicts at once, and what it evicts is freed at once. It is cut into shards, each with a lock and a part of the
//! bound of its own, so a shard must be several times as large as the largest entry.
//!
//! The policy is CLOCK-Pro. Out of the box it leaves 3 % to what is new, which in a small cache is worse than LRU on object traces; with a tenth
//! it is better than LRU at every size: `cargo run --release -p groupcache-bench -- trace`.

use std::sync::Arc;

use ahash::RandomState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

use crate::cache::store::{Held, Store};
use crate::simulation::random_state;
use crate::value::Key;

/// Share of the bound for entries that were asked for again.
const HOT_SHARE: f64 = 0.9;

/// A shard is at least so large where the bound allows [`FEWEST_SHARDS`] of them: a value of 8 MiB, the largest there is, takes half of one.
const SHARD_BYTES: u64 = 16 << 20;
const FEWEST_SHARDS: u64 = 4;

/// Shards for each core: more of them and readers meet less.
const SHARDS_PER_CORE: usize = 4;

/// One entry is expected in so many bytes of the bound. quick_cache remembers half as many evicted keys, at 61 bytes each: a sixteenth at most.
const BYTES_PER_EXPECTED: u64 = 512;

/// Bytes an entry costs beyond key and value. Measured: 260 to 272, and up to 349 with the keys that are remembered, which have a share of their own.
const ENTRY_OVERHEAD: u64 = 320;

pub(super) struct QuickStore {
    cache: Cache<Key, Arc<Held>, ByCharge, RandomState>,
    largest: u64,
}

/// Weighs an entry by what it is charged with.
#[derive(Clone)]
struct ByCharge;

impl Weighter<Key, Arc<Held>> for ByCharge {
    fn weight(&self, _: &Key, held: &Arc<Held>) -> u64 {
        held.charge()
    }
}

impl QuickStore {
    pub(super) fn new(bound: u64) -> Self {
        let cores =
            std::thread::available_parallelism().map_or(FEWEST_SHARDS as usize, std::num::NonZero::get);
        let most = (cores * SHARDS_PER_CORE) as u64;
        // A power of two, or it would be rounded up to one.
        let shards = 1 << (bound / SHARD_BYTES).clamp(FEWEST_SHARDS, most.max(FEWEST_SHARDS)).ilog2();
        let expected = usize::try_from(bound / BYTES_PER_EXPECTED).unwrap_or(usize::MAX);
        let mut options = OptionsBuilder::new();
        options
            .weight_capacity(bound)
            .estimated_items_capacity(expected)
            .shards(shards)
            .hot_allocation(HOT_SHARE);
        let options = match options.build() {
            Ok(options) => options,
            Err(error) => unreachable!("both capacities are set: {error}"),
        };
        let cache = Cache::with_options(options, ByCharge, random_state(), DefaultLifecycle::default());
        let largest = (cache.shard_capacity() as f64 * HOT_SHARE) as u64;
        QuickStore { cache, largest }
    }
}

impl Store for QuickStore {
    fn get(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.cache.get(key)
    }

    fn peek(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.cache.peek(key)
    }

    fn insert(&self, key: Key, held: Arc<Held>) {
        self.cache.insert(key, held);
    }

    fn remove(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.cache.remove(key).map(|(_, held)| held)
    }

    fn each(&self, see: &mut dyn FnMut(&Key, &Held)) {
        for (key, held) in self.cache.iter() {
            see(&key, &held);
        }
    }

    fn tidy(&self) {
        // It never is over its bound, and holds nothing that left.
    }

    fn largest(&self) -> u64 {
        self.largest
    }

    fn overhead(&self) -> u64 {
        ENTRY_OVERHEAD
    }
}
