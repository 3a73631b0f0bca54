//! What a purge does at one node: copies go, generations rise, windows open, flights are forgotten.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::{Bounds, Generation, Generations};
use crate::group::{Group, Part};
use crate::peer::Purged;
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::{Entry, Key};

impl Group {
    /// Drops keys at this node and opens their windows: what a peer's purge does here (K1, K2).
    ///
    /// Answers the generation to which the purge of a single key has raised it, for [`Group::store`]; 0 for several.
    pub fn purge(self: &Arc<Self>, what: &Purged, window: Duration, source_version: Option<u64>) -> u64 {
        let now = self.grants.clock().now();
        let bounds = Bounds { window, lag: self.settings().source_lag, floor: source_version };
        match what {
            Purged::Group => {
                self.purge_all(now, bounds);
                0
            }
            Purged::Keys(keys) => {
                let last = keys.iter().map(|key| self.purge_key(key, now, bounds)).last();
                self.state.load().cache.settle();
                self.counters.add_many(Count::PurgedKeys, keys.len() as u64);
                if keys.len() == 1 { last.map_or(0, Generation::to_number) } else { 0 }
            }
        }
    }

    fn purge_key(self: &Arc<Self>, key: &Key, now: Instant, bounds: Bounds) -> Generation {
        let hash = self.hasher.hash_one(key);
        let drop_copies = || self.state.load().cache.remove(key.as_bytes());
        if off(Rule::RaiseAtOnce) {
            drop_copies();
            return self.raise_later(key, now, bounds);
        }
        let generation = self.generations.purge(hash, now, bounds, drop_copies);
        self.loads.forget(key, hash);
        self.fetches.forget(key, hash);
        generation
    }

    /// What [`Rule::RaiseAtOnce`] is against: whatever lands between the drop and this stays.
    fn raise_later(self: &Arc<Self>, key: &Key, now: Instant, bounds: Bounds) -> Generation {
        let (group, key) = (self.clone(), key.clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let hash = group.hasher.hash_one(&key);
            group.generations.purge(hash, now, bounds, || ());
            group.loads.forget(&key, hash);
            group.fetches.forget(&key, hash);
        });
        Generation::from_number(u64::MAX)
    }

    /// All keys at once: the caches are swapped for empty ones, and the old ones are freed behind the caller's back.
    fn purge_all(&self, now: Instant, bounds: Bounds) {
        let _change = self.change.lock();
        self.drop_everything(|generations: &Generations| generations.purge_all(now, bounds));
        self.counters.add(Count::Flushes);
    }

    /// Stores in main what a client Set, unless the key was purged since `generation`: then a later Remove or Set stands, and false is answered.
    ///
    /// Loads from before are fenced. Without grants, or as one that joins, the node keeps nothing, and that is no failure: the source has the value.
    pub fn store(&self, key: &Key, entry: &Entry, generation: u64) -> bool {
        let hash = self.hasher.hash_one(key);
        let now = self.grants.clock().now();
        let state = self.state.load_full();
        let (lease, second) = (state.lease(Part::Main, key), self.grants.second(now));
        let Some((kept_key, held)) = state.cache.main.prepare(key, entry, lease, second, now) else {
            self.counters.add(Count::NoRoom);
            return true;
        };
        let put = || {
            // What is replaced goes in any case: it is older.
            let present = self.state.load();
            present.cache.remove(key.as_bytes());
            if present.serves(now) && Arc::ptr_eq(&present.cache, &state.cache) {
                present.cache.main.insert(kept_key, held, now);
            }
        };
        let stored =
            self.generations.store(hash, Generation::from_number(generation), entry.source_version, now, put);
        if stored {
            self.loads.forget(key, hash);
            self.fetches.forget(key, hash);
            state.cache.settle();
        }
        stored
    }
}
