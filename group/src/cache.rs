//! What a group holds: the main cache and the hot cache, each within its bytes.
//!
//! Policy and eviction are the [`Store`]'s; the count of live bytes is ours, because a store may lag behind its own bound.
//! Nothing here knows generations: callers keep and drop entries inside the fence.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::time::Instant;

use crate::cache::moka::MokaStore;
use crate::cache::quick::QuickStore;
use crate::cache::store::{Account, Charge, Store};
use crate::freshness::{Lease, Life};
use crate::value::{Entry, Key};

mod moka;
mod quick;
mod store;

pub(crate) use store::Held;

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

/// One part in so many of a cache stays free of what is taken over from other nodes: its last parts are for what is asked for here, and a store that
/// is cut into shards begins to evict before it is full.
const SPARE_SHARE: u64 = 8;

/// How often a store is tidied to make room before an entry is refused.
const TIDY_ROUNDS: usize = 4;

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

    /// The key's entry, if it has not expired and no refresh of it is due. `second`: when it is used.
    #[inline]
    pub(crate) fn get(&self, key: &[u8], second: u32, now: Instant) -> Option<Entry> {
        let held = self.store.get(key)?;
        held.note_use(second);
        held.life.is_quiet(&held.entry, now).then(|| held.entry.clone())
    }

    /// What is held of the key, fresh or stale, unless it is of no use to anybody.
    pub(crate) fn find(&self, key: &[u8], now: Instant) -> Option<Arc<Held>> {
        self.store.peek(key).filter(|held| !held.life.is_dead(now))
    }

    /// The key's entry, if it has not expired; that it was looked at is not noted.
    pub(crate) fn peek(&self, key: &[u8], now: Instant) -> Option<Entry> {
        let held = self.store.peek(key)?;
        (!held.entry.is_expired(now)).then(|| held.entry.clone())
    }

    /// Shows every entry; see [`Store::each`].
    pub(crate) fn each(&self, see: &mut dyn FnMut(&Key, &Held)) {
        self.store.each(see);
    }

    /// True if there is no room for what only may become useful.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.bytes() >= self.capacity - self.capacity / SPARE_SHARE
    }

    /// An entry ready to be kept here: its key and value in buffers of their own, so that no network buffer is pinned by a few bytes of it.
    /// `None` if there is no room for it. To be called outside the fence: it copies, and may tidy up.
    pub(crate) fn prepare(
        &self,
        key: &Key,
        entry: &Entry,
        lease: Lease,
        second: u32,
        now: Instant,
    ) -> Option<(Key, Arc<Held>)> {
        let bytes = key.as_bytes().len() as u64 + entry.value_bytes() as u64 + self.store.overhead();
        if bytes > self.store.largest().min(self.capacity / LARGEST_SHARE) {
            return None;
        }
        // Charged before anything is copied, so that many at the same moment see each other.
        let charge = Charge::new(bytes, &self.account);
        let life = Life::new(entry, lease, now);
        let used = AtomicU32::new(second);
        let held = || Arc::new(Held { entry: entry.compact(), charge, life, used });
        self.make_room().then(|| (key.compact(), held()))
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

    /// Puts a prepared entry in. To be called inside the fence. False if what is held is newer by the source's own version and still of use:
    /// of two results that race, the older one may land last.
    pub(crate) fn insert(&self, key: Key, held: Arc<Held>, now: Instant) -> bool {
        if let Some(former) = self.store.peek(key.as_bytes()) {
            if !former.life.is_dead(now) && is_older(&held.entry, &former.entry) {
                return false;
            }
            former.charge.taken();
        }
        held.charge.came();
        self.store.insert(key, held);
        true
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

/// True if the source says so. Without versions nothing is known.
fn is_older(new: &Entry, former: &Entry) -> bool {
    matches!((new.source_version, former.source_version), (Some(new), Some(former)) if new < former)
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
