//! What a store is: a bounded map of entries, each of which is charged to an account while it lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::freshness::Life;
use crate::value::{Entry, Key};

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
    /// Shows every entry. Gets go on meanwhile: what comes or goes while it looks may be seen or not.
    fn each(&self, see: &mut dyn FnMut(&Key, &Held));
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
    pub(super) entry: Entry,
    pub(super) charge: Charge,
    pub(super) life: Life,
    /// The second of this process in which it was last used.
    pub(super) used: AtomicU32,
}

impl Held {
    /// Notes a use. Written once a second at most, so that readers of one key do not take its line from each other.
    #[inline]
    pub(super) fn note_use(&self, second: u32) {
        if self.used.load(Ordering::Relaxed) != second {
            self.used.store(second, Ordering::Relaxed);
        }
    }

    /// The second of this process in which it was last used.
    pub(crate) fn used(&self) -> u32 {
        self.used.load(Ordering::Relaxed)
    }

    /// The bytes it is charged with.
    pub(crate) fn charge(&self) -> u64 {
        self.charge.bytes
    }

    /// The entry.
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// See [`Life::is_stale_within`].
    pub(crate) fn is_stale_within(&self, time: Duration, now: Instant) -> bool {
        self.life.is_stale_within(&self.entry, time, now)
    }

    /// See [`Life::claim`].
    pub(crate) fn claim(&self, time: Duration, now: Instant) -> bool {
        self.life.claim(&self.entry, time, now)
    }

    /// See [`Life::rest`].
    pub(crate) fn rest(&self, pause: Duration, now: Instant) {
        self.life.rest(&self.entry, pause, now);
    }
}

/// Bytes on an account, until it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    bytes: u64,
    /// True from its insertion until it is replaced or removed. Dropped while true: evicted.
    kept: AtomicBool,
    account: Arc<Account>,
}

impl Charge {
    /// Charges `bytes` to `account`.
    pub(super) fn new(bytes: u64, account: &Arc<Account>) -> Self {
        account.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge { bytes, kept: AtomicBool::new(false), account: account.clone() }
    }

    /// Its entry is about to go into a store.
    pub(super) fn came(&self) {
        self.kept.store(true, Ordering::Relaxed);
        self.account.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// It was replaced or removed. One that the store evicts at the same moment counts as one or the other, never as both.
    pub(super) fn taken(&self) {
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
pub(super) struct Account {
    pub(super) bytes: AtomicU64,
    /// Entries that came in and were neither taken out nor freed.
    pub(super) entries: AtomicU64,
    /// Entries that the store has evicted and freed.
    pub(super) evictions: AtomicU64,
    /// Bytes removed since the store was last tidied.
    pub(super) removed: AtomicU64,
}
