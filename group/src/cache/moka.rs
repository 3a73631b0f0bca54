//! A store made of moka's `sync` cache, used as a plain bounded map.
//!
//! Neither its loading nor its clock nor its "invalidate all" is used: each of them would let a removed value come back.
//!
//! The policy is LRU: TinyLFU refuses nearly every new key of a warm cache, which on object traces is worse.

use std::sync::Arc;

use ahash::RandomState;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use crate::cache::store::{Held, Store};
use crate::simulation::random_state;
use crate::value::Key;

/// Epochs that must pass before something evicted is freed, and one more.
const EPOCHS: usize = 3;

/// Bytes an entry costs beyond key and value. Measured: 560 to 980, by the size of the value.
const ENTRY_OVERHEAD: u64 = 832;

pub(super) struct MokaStore(Cache<Key, Arc<Held>, RandomState>);

impl MokaStore {
    pub(super) fn new(capacity: u64) -> Self {
        let cache = Cache::builder()
            .max_capacity(capacity)
            // Values are limited far below 4 GiB, so that nothing is weighed too light.
            .weigher(|_, held: &Arc<Held>| u32::try_from(held.charge()).unwrap_or(u32::MAX))
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(random_state());
        MokaStore(cache)
    }
}

impl Store for MokaStore {
    fn get(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.0.get(key)
    }

    fn peek(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.0.get(key)
    }

    fn insert(&self, key: Key, held: Arc<Held>) {
        self.0.insert(key, held);
    }

    fn remove(&self, key: &[u8]) -> Option<Arc<Held>> {
        self.0.remove(key)
    }

    fn each(&self, see: &mut dyn FnMut(&Key, &Held)) {
        for (key, held) in &self.0 {
            see(&key, &held);
        }
    }

    fn tidy(&self) {
        self.0.run_pending_tasks();
        // What it evicted waits in this thread's bag until nobody can still be reading it: seconds, in a quiet cache.
        for _ in 0..EPOCHS {
            crossbeam_epoch::pin().flush();
        }
    }

    fn largest(&self) -> u64 {
        u64::from(u32::MAX)
    }

    fn overhead(&self) -> u64 {
        ENTRY_OVERHEAD
    }
}
