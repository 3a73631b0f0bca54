//! Which keys of other owners are worth a copy here: those asked for twice within a short time.
//!
//! One word per slot, found by the key's hash; a newer key takes the slot of an older one. So it is small, fixed, and never waits for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Keys remembered at a time: 128 KiB of words.
const SLOTS: usize = 16_384;

/// A second request within this time makes a key hot.
pub(crate) const HOT_WINDOW: Duration = Duration::from_secs(30);

/// The low 31 bits of a slot: milliseconds since the sketch was made, which wrap after 24 days. A wrap costs one copy more or less.
const TIME: u64 = (1 << 31) - 1;
/// The bit of a slot that says: asked for at least twice.
const TWICE: u64 = 1 << 31;

/// Requests of the recent past.
#[derive(Debug)]
pub(crate) struct Requests {
    slots: Box<[AtomicU64]>,
    born: Instant,
}

impl Requests {
    /// Nothing asked for yet.
    pub(crate) fn new(now: Instant) -> Self {
        Requests { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), born: now }
    }

    /// Notes a request of a key that is not here. Two at the same time may count as one: no harm.
    pub(crate) fn note(&self, hash: u64, now: Instant) {
        let slot = self.slot(hash);
        let seen = slot.load(Ordering::Relaxed);
        let twice = if self.is_recent(seen, hash, now) { TWICE } else { 0 };
        slot.store(tag(hash) | twice | self.time(now), Ordering::Relaxed);
    }

    /// True if the key was asked for at least twice within [`HOT_WINDOW`].
    pub(crate) fn is_hot(&self, hash: u64, now: Instant) -> bool {
        let seen = self.slot(hash).load(Ordering::Relaxed);
        seen & TWICE != 0 && self.is_recent(seen, hash, now)
    }

    fn is_recent(&self, seen: u64, hash: u64, now: Instant) -> bool {
        let age = self.time(now).wrapping_sub(seen) & TIME;
        seen != 0 && tag(seen) == tag(hash) && u128::from(age) <= HOT_WINDOW.as_millis()
    }

    fn time(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_millis() as u64 & TIME
    }

    fn slot(&self, hash: u64) -> &AtomicU64 {
        &self.slots[hash as usize % SLOTS]
    }
}

/// The upper half of a hash tells keys of one slot apart.
const fn tag(hash: u64) -> u64 {
    hash & !(TIME | TWICE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 0xABCD_EF01_0000_0007;

    #[test]
    fn the_second_request_makes_a_key_hot() {
        let now = Instant::now();
        let requests = Requests::new(now);
        requests.note(KEY, now);
        assert!(!requests.is_hot(KEY, now));
        requests.note(KEY, now + HOT_WINDOW);
        assert!(requests.is_hot(KEY, now + HOT_WINDOW));
    }

    #[test]
    fn a_second_request_that_comes_too_late_is_a_first_one() {
        let now = Instant::now();
        let requests = Requests::new(now);
        let late = now + HOT_WINDOW + Duration::from_millis(1);
        requests.note(KEY, now);
        requests.note(KEY, late);
        assert!(!requests.is_hot(KEY, late));
        requests.note(KEY, late);
        assert!(requests.is_hot(KEY, late));
        assert!(!requests.is_hot(KEY, late + HOT_WINDOW * 2));
    }

    #[test]
    fn another_key_in_the_same_slot_is_not_mistaken_for_it() {
        let now = Instant::now();
        let requests = Requests::new(now);
        requests.note(KEY, now);
        requests.note(KEY ^ (1 << 40), now);
        assert!(!requests.is_hot(KEY, now));
        assert!(!requests.is_hot(KEY ^ (1 << 40), now));
    }
}
