//! What a group holds: the main cache and the hot cache, each within its bytes.
//!
//! Policy and eviction are the [`Store`]'s; the count of live bytes is ours, because a store may lag behind its own bound.
//! Nothing here knows generations: callers keep and drop entries inside the fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cache::moka::MokaStore;
use crate::value::{Entry, Key};

mod moka;

/// Bytes an entry costs beyond its key and value: the store's nodes, two buffers' headers and the entry itself. Measured, with a little to spare.
const ENTRY_OVERHEAD: u64 = 448;

/// No entry may take more than one part in so many of its cache: a single value must not push out all others.
const LARGEST_SHARE: u64 = 8;

/// Once one part in so many of a cache was removed, its store is tidied: it may hold what was removed in its log until somebody writes again.
const REMOVED_SHARE: u64 = 256;

/// One part in so many of a cache is left to what its store has evicted and not freed yet.
const UNFREED_SHARE: u64 = 16;

/// How far over its capacity a cache may be before it refuses: an eighth, and 1 MiB that small ones need. Readers, or threads that are kept from
/// running, delay what the store frees; no value that comes meanwhile may push the process over its memory.
const OVERSHOOT_SHARE: u64 = 8;
const OVERSHOOT_BYTES: u64 = 1 << 20;

/// How often a store is tidied to make room before an entry is refused.
const TIDY_ROUNDS: usize = 4;

/// A bounded map. Its bound is the sum of [`Held::charge`]; who must go is its own business.
pub(crate) trait Store: Send + Sync {
    /// The entry of a key, marked as used.
    fn get(&self, key: &[u8]) -> Option<Held>;
    /// Puts an entry in, in place of the key's former one.
    fn insert(&self, key: Key, held: Held);
    /// Takes an entry out. A `get` that starts afterwards does not find it.
    fn remove(&self, key: &[u8]) -> Option<Held>;
    /// Evicts down to the bound now.
    fn tidy(&self);
}

/// An entry in a store, or a copy that a store gave out. While one lives, its bytes are charged.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    entry: Entry,
    charge: Arc<Charge>,
}

impl Held {
    /// The bytes it is charged with.
    pub(crate) fn charge(&self) -> u64 {
        self.charge.bytes
    }
}

/// Bytes on an account, until it is dropped.
#[derive(Debug)]
struct Charge {
    bytes: u64,
    /// True once the entry is in a store.
    inserted: AtomicBool,
    account: Arc<Account>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if *self.inserted.get_mut() {
            self.account.freed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What one half holds, and what has come and gone.
#[derive(Debug, Default)]
struct Account {
    bytes: AtomicU64,
    /// Entries that came in.
    inserted: AtomicU64,
    /// Entries that were removed or replaced, freed or not.
    taken: AtomicU64,
    /// Entries that the store has freed: taken ones and evicted ones.
    freed: AtomicU64,
    /// Bytes removed since the store was last tidied.
    removed: AtomicU64,
}

/// One of the two caches.
pub(crate) struct Half {
    store: Box<dyn Store>,
    capacity: u64,
    account: Arc<Account>,
}

impl Half {
    fn new(capacity: u64) -> Self {
        let store = Box::new(MokaStore::new(capacity - capacity / UNFREED_SHARE));
        Half { store, capacity, account: Arc::default() }
    }

    /// The key's entry, expired or not.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Entry> {
        self.store.get(key).map(|held| held.entry)
    }

    /// An entry ready to be kept here: its key and value in buffers of their own, so that no network buffer is pinned by a few bytes of it.
    /// `None` if there is no room for it. To be called outside the fence: it copies, and may tidy up.
    pub(crate) fn prepare(&self, key: &Key, entry: &Entry) -> Option<(Key, Held)> {
        let bytes = charge(key.as_bytes(), entry);
        if bytes > self.capacity / LARGEST_SHARE {
            return None;
        }
        // Charged before anything is copied, so that many at the same moment see each other.
        self.account.bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = Charge { bytes, inserted: AtomicBool::new(false), account: self.account.clone() };
        self.make_room().then(|| (key.compact(), Held { entry: entry.compact(), charge: Arc::new(charge) }))
    }

    /// Tidies up until the bytes charged are within bounds; false if that cannot be had now.
    /// A store left to itself overshoots its bound nearly threefold when many write big values.
    fn make_room(&self) -> bool {
        let bound = self.capacity + self.capacity / OVERSHOOT_SHARE + OVERSHOOT_BYTES;
        for _ in 0..TIDY_ROUNDS {
            if self.bytes() <= bound {
                return true;
            }
            self.store.tidy();
            // A thread that was stopped while reading holds back what others evicted: let it run.
            std::thread::yield_now();
        }
        self.bytes() <= bound
    }

    /// Puts a prepared entry in. To be called inside the fence.
    pub(crate) fn insert(&self, key: Key, held: Held) {
        if self.store.get(key.as_bytes()).is_some() {
            self.account.taken.fetch_add(1, Ordering::Relaxed);
        }
        held.charge.inserted.store(true, Ordering::Relaxed);
        self.account.inserted.fetch_add(1, Ordering::Relaxed);
        self.store.insert(key, held);
    }

    /// Drops the key's entry. To be called inside the fence.
    fn remove(&self, key: &[u8]) {
        if let Some(held) = self.store.remove(key) {
            self.account.taken.fetch_add(1, Ordering::Relaxed);
            self.account.removed.fetch_add(charge(key, &held.entry), Ordering::Relaxed);
        }
    }

    /// Tidies up if it is over its bytes, or if much was removed that the store may still hold in its log. To be called outside the fence.
    pub(crate) fn settle(&self) {
        let removed = self.account.removed.load(Ordering::Relaxed);
        if removed > self.capacity / REMOVED_SHARE || self.bytes() > self.capacity {
            self.account.removed.store(0, Ordering::Relaxed);
            self.store.tidy();
        }
    }

    /// Bytes charged now: of entries, and of those that left and that the store has not freed yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.account.bytes.load(Ordering::Relaxed)
    }

    /// Entries held now. What was taken may not be freed yet, and what was evicted is not known before; so it may be off by a few for a moment.
    pub(crate) fn entries(&self) -> u64 {
        let (taken, freed) = (read(&self.account.taken), read(&self.account.freed));
        read(&self.account.inserted).saturating_sub(taken.max(freed))
    }

    /// Entries that left to make room, as far as the store has freed them.
    pub(crate) fn evictions(&self) -> u64 {
        read(&self.account.freed).saturating_sub(read(&self.account.taken))
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Both caches of a group.
pub(crate) struct Cache {
    /// What this node loaded. Answers everyone.
    pub(crate) main: Half,
    /// Copies of what other nodes own. Never answers peers (K6). `None`: switched off.
    pub(crate) hot: Option<Half>,
}

impl Cache {
    /// Empty caches; `hot_percent` of `max_bytes` for the hot one.
    pub(crate) fn new(max_bytes: u64, hot_percent: u32) -> Self {
        let hot = u64::try_from(u128::from(max_bytes) * u128::from(hot_percent.min(50)) / 100);
        let hot = hot.unwrap_or(max_bytes);
        Cache { main: Half::new(max_bytes - hot), hot: (hot > 0).then(|| Half::new(hot)) }
    }

    /// Drops the key's entries from both. To be called inside the fence.
    pub(crate) fn remove(&self, key: &[u8]) {
        self.main.remove(key);
        if let Some(hot) = &self.hot {
            hot.remove(key);
        }
    }

    /// See [`Half::settle`].
    pub(crate) fn settle(&self) {
        self.main.settle();
        if let Some(hot) = &self.hot {
            hot.settle();
        }
    }
}

/// What an entry costs.
fn charge(key: &[u8], entry: &Entry) -> u64 {
    key.len() as u64 + entry.value_bytes() as u64 + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests;
