//! What a group holds: the main cache and the hot cache, each within its bytes.
//!
//! Policy and eviction are the [`Store`]'s; the count of live bytes is ours, because a store may lag behind its own bound.
//! Nothing here knows generations: callers keep and drop entries inside the fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::cache::moka::MokaStore;
use crate::value::{Entry, Key};

mod moka;

/// Bytes an entry costs beyond its key and value: the store's nodes, two buffers' headers and the entry itself. Measured; see the test beside the store.
pub(crate) const ENTRY_OVERHEAD: u64 = 480;

/// No entry may take more than one part in so many of its cache: a single value must not push out all others.
const LARGEST_SHARE: u64 = 8;

/// An entry of at least one part in so many of its cache makes the store tidy up at once: many such between two tidyings would overshoot it.
const BIG_SHARE: u64 = 256;

/// A bounded map. Its bound is the sum of [`Held::charge`]; who must go is its own business.
pub(crate) trait Store: Send + Sync {
    /// The entry of a key, marked as used.
    fn get(&self, key: &[u8]) -> Option<Arc<Held>>;
    /// Puts an entry in, in place of the key's former one.
    fn insert(&self, key: Key, held: Arc<Held>);
    /// Takes an entry out. A `get` that starts afterwards does not find it.
    fn remove(&self, key: &[u8]) -> Option<Arc<Held>>;
    /// Evicts down to the bound now.
    fn tidy(&self);
}

/// An entry in a store. While one lives, its bytes are charged.
#[derive(Debug)]
pub(crate) struct Held {
    entry: Entry,
    charge: u64,
    /// Set by who takes it out on purpose; otherwise its end is an eviction.
    taken: AtomicBool,
    account: Arc<Account>,
}

impl Held {
    /// The bytes it is charged with.
    pub(crate) fn charge(&self) -> u64 {
        self.charge
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.charge, Ordering::Relaxed);
        self.account.entries.fetch_sub(1, Ordering::Relaxed);
        if !*self.taken.get_mut() && !self.account.closed.load(Ordering::Relaxed) {
            self.account.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What one half holds now.
#[derive(Debug, Default)]
struct Account {
    bytes: AtomicU64,
    entries: AtomicU64,
    evictions: AtomicU64,
    closed: AtomicBool,
}

/// One of the two caches.
pub(crate) struct Half {
    store: Box<dyn Store>,
    capacity: u64,
    account: Arc<Account>,
}

impl Half {
    fn new(capacity: u64) -> Self {
        Half { store: Box::new(MokaStore::new(capacity)), capacity, account: Arc::default() }
    }

    /// The key's entry, expired or not.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Entry> {
        self.store.get(key).map(|held| held.entry.clone())
    }

    /// An entry ready to be kept here: its key and value in buffers of their own, so that no network buffer is pinned by a few bytes of it.
    /// `None` if there is no room for it. To be called outside the fence: it copies, and may tidy up.
    pub(crate) fn prepare(&self, key: &Key, entry: &Entry) -> Option<(Key, Arc<Held>)> {
        let charge = charge(key, entry);
        if charge > self.capacity / LARGEST_SHARE {
            return None;
        }
        let after = self.bytes() + charge;
        if after > self.capacity || charge >= self.capacity / BIG_SHARE {
            self.store.tidy();
            if self.bytes() + charge > self.capacity + self.capacity / LARGEST_SHARE {
                return None;
            }
        }
        self.account.bytes.fetch_add(charge, Ordering::Relaxed);
        self.account.entries.fetch_add(1, Ordering::Relaxed);
        // Counts as taken until it is in: an entry that the fence refuses was never evicted.
        let taken = AtomicBool::new(true);
        let held = Held { entry: entry.compact(), charge, taken, account: self.account.clone() };
        Some((key.compact(), Arc::new(held)))
    }

    /// Puts a prepared entry in. To be called inside the fence.
    pub(crate) fn insert(&self, key: Key, held: Arc<Held>) {
        if let Some(former) = self.store.get(key.as_bytes()) {
            former.taken.store(true, Ordering::Relaxed);
        }
        held.taken.store(false, Ordering::Relaxed);
        self.store.insert(key, held);
    }

    /// Drops the key's entry. To be called inside the fence.
    pub(crate) fn remove(&self, key: &[u8]) {
        if let Some(held) = self.store.remove(key) {
            held.taken.store(true, Ordering::Relaxed);
        }
    }

    /// Tidies up if it is over its bytes. To be called outside the fence, after an insert.
    pub(crate) fn settle(&self) {
        if self.bytes() > self.capacity {
            self.store.tidy();
        }
    }

    /// Bytes charged now.
    pub(crate) fn bytes(&self) -> u64 {
        self.account.bytes.load(Ordering::Relaxed)
    }

    /// Entries held now.
    pub(crate) fn entries(&self) -> u64 {
        self.account.entries.load(Ordering::Relaxed)
    }

    /// Entries that left to make room.
    pub(crate) fn evictions(&self) -> u64 {
        self.account.evictions.load(Ordering::Relaxed)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        self.account.closed.store(true, Ordering::Relaxed);
    }
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
}

/// What an entry costs.
pub(crate) fn charge(key: &Key, entry: &Entry) -> u64 {
    key.as_bytes().len() as u64 + entry.value_bytes() as u64 + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests;
