//! What a group holds: the main cache and the hot cache, each within its bytes.
//!
//! Policy and eviction are the [`Store`]'s; the count of live bytes is ours, because a store may lag behind its own bound.
//! Nothing here knows generations: callers keep and drop entries inside the fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::time::Instant;

use crate::cache::moka::MokaStore;
use crate::cache::quick::QuickStore;
use crate::value::{Entry, Key};

mod moka;
mod quick;

/// Which store holds a group's entries. Both keep within the group's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// quick_cache: CLOCK-Pro with a part for what is new, exact in its bytes, the faster one.
    #[default]
    Quick,
    /// moka: LRU over the whole cache, for a group that wants exactly that.
    Moka,
}

/// No entry may take more than one part in so many of its cache: a single value must not push out all others.
const LARGEST_SHARE: u64 = 8;

/// Once one part in so many of a cache was removed, its store is tidied: it may hold what was removed in its log until somebody writes again.
const REMOVED_SHARE: u64 = 256;

/// One part in so many of a cache is left to its store: for what it has evicted and not freed yet, or for the keys it remembers without a value.
const OWN_SHARE: u64 = 16;

/// How far over its capacity a cache may be before it refuses: an eighth, and 1 MiB that small ones need. Readers, or threads that are kept from
/// running, delay what the store frees; no value that comes meanwhile may push the process over its memory.
const OVERSHOOT_SHARE: u64 = 8;
const OVERSHOOT_BYTES: u64 = 1 << 20;

/// How often a store is tidied to make room before an entry is refused.
const TIDY_ROUNDS: usize = 4;

/// A bounded map. Its bound is the sum of [`Held::charge`]; who must go is its own business.
pub(crate) trait Store: Send + Sync {
    /// The entry of a key, marked as used.
    fn get(&self, key: &[u8]) -> Option<Arc<Held>>;
    /// The entry of a key, whose use is not noted.
    fn peek(&self, key: &[u8]) -> Option<Arc<Held>>;
    /// Puts an entry in, in place of the key's former one.
    fn insert(&self, key: Key, held: Arc<Held>);
    /// Takes an entry out. A `get` that starts afterwards does not find it.
    fn remove(&self, key: &[u8]) -> Option<Arc<Held>>;
    /// Evicts down to the bound now, and frees what it can.
    fn tidy(&self);
    /// The most that one entry may be charged with.
    fn largest(&self) -> u64;
    /// Bytes an entry costs beyond its key and value: the store's nodes, the buffers' headers and the entry itself.
    /// Measured, with a little to spare: `cargo run --release -p groupcache-bench -- memory`.
    fn overhead(&self) -> u64;
}

/// An entry that a store holds, or is about to. Its bytes are charged until nobody has it any more.
#[derive(Debug)]
pub(crate) struct Held {
    entry: Entry,
    charge: Charge,
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
    /// True from its insertion until it is replaced or removed. Dropped while true: evicted.
    kept: AtomicBool,
    account: Arc<Account>,
}

impl Charge {
    fn came(&self) {
        self.kept.store(true, Ordering::Relaxed);
        self.account.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// It was replaced or removed. One that the store evicts at the same moment counts as one or the other, never as both.
    fn taken(&self) {
        if self.kept.swap(false, Ordering::Relaxed) {
            self.account.entries.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if *self.kept.get_mut() {
            self.account.entries.fetch_sub(1, Ordering::Relaxed);
            self.account.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What one half holds, and what has left it.
#[derive(Debug, Default)]
struct Account {
    bytes: AtomicU64,
    /// Entries that came in and were neither taken out nor freed.
    entries: AtomicU64,
    /// Entries that the store has evicted and freed.
    evictions: AtomicU64,
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
    fn new(capacity: u64, kind: StoreKind) -> Self {
        let bound = capacity - capacity / OWN_SHARE;
        let store: Box<dyn Store> = match kind {
            StoreKind::Quick => Box::new(QuickStore::new(bound)),
            StoreKind::Moka => Box::new(MokaStore::new(bound)),
        };
        Half { store, capacity, account: Arc::default() }
    }

    /// The key's entry, if it has not expired.
    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Entry> {
        let held = self.store.get(key)?;
        // The clock is read only for what can expire.
        let usable = held.entry.expires.is_none_or(|at| Instant::now() < at);
        usable.then(|| held.entry.clone())
    }

    /// An entry ready to be kept here: its key and value in buffers of their own, so that no network buffer is pinned by a few bytes of it.
    /// `None` if there is no room for it. To be called outside the fence: it copies, and may tidy up.
    pub(crate) fn prepare(&self, key: &Key, entry: &Entry) -> Option<(Key, Arc<Held>)> {
        let bytes = key.as_bytes().len() as u64 + entry.value_bytes() as u64 + self.store.overhead();
        if bytes > self.store.largest().min(self.capacity / LARGEST_SHARE) {
            return None;
        }
        // Charged before anything is copied, so that many at the same moment see each other.
        self.account.bytes.fetch_add(bytes, Ordering::Relaxed);
        let charge = Charge { bytes, kept: AtomicBool::new(false), account: self.account.clone() };
        self.make_room().then(|| (key.compact(), Arc::new(Held { entry: entry.compact(), charge })))
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
    pub(crate) fn insert(&self, key: Key, held: Arc<Held>) {
        if let Some(former) = self.store.peek(key.as_bytes()) {
            former.charge.taken();
        }
        held.charge.came();
        self.store.insert(key, held);
    }

    /// Drops the key's entry. To be called inside the fence.
    fn remove(&self, key: &[u8]) {
        if let Some(held) = self.store.remove(key) {
            held.charge.taken();
            self.account.removed.fetch_add(held.charge(), Ordering::Relaxed);
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

    /// Entries held now, and those that were evicted and are not freed yet.
    pub(crate) fn entries(&self) -> u64 {
        self.account.entries.load(Ordering::Relaxed)
    }

    /// Entries that left to make room, as far as the store has freed them.
    pub(crate) fn evictions(&self) -> u64 {
        self.account.evictions.load(Ordering::Relaxed)
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
    pub(crate) fn new(max_bytes: u64, hot_percent: u32, kind: StoreKind) -> Self {
        let hot = u64::try_from(u128::from(max_bytes) * u128::from(hot_percent.min(50)) / 100);
        let hot = hot.unwrap_or(max_bytes);
        Cache { main: Half::new(max_bytes - hot, kind), hot: (hot > 0).then(|| Half::new(hot, kind)) }
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

#[cfg(test)]
mod tests;
