//! How a kept entry ages: fresh, due for a refresh, stale but of use, dead. Times are handed in: no clock is read here.
//!
//! A refresh ahead of time starts at the first use in the last part of a ttl, at a moment fixed as the entry is kept, so that a hit pays one comparison.
//! Deciding by chance at every use (XFetch) was refused: it costs a random number and a logarithm for each hit, and what it prevents, many callers
//! refreshing at once, cannot happen where one owner lets one refresh run. Chance is left to the jitter of the ttl.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::expiry::after;
use crate::value::{Entry, Outcome};

/// No refresh is ever due.
const NEVER: u64 = u64::MAX;

/// A refresh starts so many times the last load's duration before the end, should that be earlier than the group's share: or it would land too late.
const LOADS_AHEAD: u32 = 2;

/// What a kept entry may be used for, and when it is to be refreshed next.
#[derive(Debug)]
pub(crate) struct Life {
    /// Until when it may be of use although it expired; `None`: it does not expire.
    dead: Option<Instant>,
    /// Nanoseconds after its load started at which a use is to start the next refresh. Changed without a lock: who changes it refreshes.
    next: AtomicU64,
}

/// By what an entry's life is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lease {
    /// For how long it may be of use once it has expired.
    pub(crate) stale: Duration,
    /// The last percent of the ttl in which a use refreshes it.
    pub(crate) early_percent: u32,
}

impl Life {
    /// The life of an entry that is kept `now`. "No such key" is never of use once it expired: a row that was created since must be seen.
    pub(crate) fn new(entry: &Entry, lease: Lease, now: Instant) -> Self {
        let Some(expires) = entry.expires else { return Life { dead: None, next: AtomicU64::new(NEVER) } };
        let stale = if entry.outcome == Outcome::NotFound { Duration::ZERO } else { lease.stale };
        let ahead = ahead(entry, expires, lease.early_percent, now);
        let due = nanos(expires.saturating_duration_since(entry.loaded).saturating_sub(ahead));
        Life { dead: Some(after(expires, stale)), next: AtomicU64::new(due) }
    }

    /// True if the entry is a hit and no refresh is due: all that a hit asks.
    #[inline]
    pub(crate) fn is_quiet(&self, entry: &Entry, now: Instant) -> bool {
        entry.expires.is_none_or(|at| now < at && !self.is_due(entry, now))
    }

    /// True if the entry expired and may be of use for so long afterwards.
    pub(crate) fn is_stale_within(&self, entry: &Entry, time: Duration, now: Instant) -> bool {
        entry.expires.is_some_and(|at| at <= now && now < after(at, time)) && !self.is_dead(now)
    }

    /// True if the entry is of no use to anybody.
    pub(crate) fn is_dead(&self, now: Instant) -> bool {
        self.dead.is_some_and(|at| at <= now)
    }

    /// True for the one caller that is to refresh the entry now. Nobody else is until [`Life::rest`], or until `time` has passed.
    pub(crate) fn claim(&self, entry: &Entry, time: Duration, now: Instant) -> bool {
        let at = since_load(entry, now);
        let next = self.next.load(Ordering::Relaxed);
        let until = at.saturating_add(nanos(time));
        at >= next && self.next.compare_exchange(next, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// A refresh ended and left the entry in place: the next one may start after `pause`.
    pub(crate) fn rest(&self, entry: &Entry, pause: Duration, now: Instant) {
        self.next.store(since_load(entry, now).saturating_add(nanos(pause)), Ordering::Relaxed);
    }

    fn is_due(&self, entry: &Entry, now: Instant) -> bool {
        since_load(entry, now) >= self.next.load(Ordering::Relaxed)
    }
}

/// How long before its end an entry in use is refreshed; never more than half of what it has.
fn ahead(entry: &Entry, expires: Instant, percent: u32, now: Instant) -> Duration {
    if percent == 0 {
        return Duration::ZERO;
    }
    let ttl = expires.saturating_duration_since(now);
    let took = now.saturating_duration_since(entry.loaded);
    let share = ttl.mul_f64(f64::from(percent.min(100)) / 100.0);
    share.max(took.saturating_mul(LOADS_AHEAD)).min(ttl / 2)
}

fn since_load(entry: &Entry, now: Instant) -> u64 {
    nanos(now.saturating_duration_since(entry.loaded))
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    /// A value whose load took a second and that is kept for a minute from `kept` on.
    fn entry(kept: Instant) -> Entry {
        let outcome = Outcome::Value("v".into());
        Entry { outcome, loaded: kept - SECOND, expires: Some(kept + MINUTE), source_version: None }
    }

    fn kept() -> Instant {
        Instant::now() + MINUTE
    }

    #[test]
    fn an_entry_is_a_hit_then_stale_then_dead() {
        let now = kept();
        let entry = entry(now);
        let life = Life::new(&entry, Lease { stale: SECOND * 10, early_percent: 0 }, now);
        let last = now + MINUTE - Duration::from_nanos(1);
        assert!(life.is_quiet(&entry, last) && !life.is_stale_within(&entry, SECOND, last));
        let end = now + MINUTE;
        assert!(!life.is_quiet(&entry, end) && life.is_stale_within(&entry, SECOND, end));
        assert!(!life.is_stale_within(&entry, SECOND, end + SECOND));
        assert!(
            life.is_stale_within(&entry, SECOND * 99, end + SECOND * 9) && !life.is_dead(end + SECOND * 9)
        );
        assert!(
            !life.is_stale_within(&entry, SECOND * 99, end + SECOND * 10),
            "not longer than when it was kept"
        );
        assert!(life.is_dead(end + SECOND * 10));
    }

    #[test]
    fn no_such_key_is_dead_once_it_expired_and_what_never_expires_never_is() {
        let now = kept();
        let lease = Lease { stale: MINUTE, early_percent: 50 };
        let absent = Entry { outcome: Outcome::NotFound, ..entry(now) };
        let life = Life::new(&absent, lease, now);
        assert!(life.is_dead(now + MINUTE) && !life.is_stale_within(&absent, MINUTE, now + MINUTE));
        let for_ever = Entry { expires: None, ..entry(now) };
        let life = Life::new(&for_ever, lease, now);
        assert!(life.is_quiet(&for_ever, now + MINUTE * 99) && !life.is_dead(now + MINUTE * 99));
    }

    #[test]
    fn a_refresh_is_due_in_the_last_part_of_the_ttl_and_sooner_after_a_slow_load() {
        let due_after = |percent, took: Duration| {
            let now = kept();
            let entry = Entry { loaded: now - took, ..entry(now) };
            let life = Life::new(&entry, Lease { stale: Duration::ZERO, early_percent: percent }, now);
            let at = |second: u32| now + SECOND * second;
            (0..=60).find(|second| !life.is_quiet(&entry, at(*second))).unwrap()
        };
        assert_eq!(due_after(0, SECOND), 60, "switched off");
        assert_eq!(due_after(10, SECOND), 54);
        assert_eq!(due_after(10, SECOND * 5), 50);
        assert_eq!(due_after(10, SECOND * 50), 30, "never before half of it");
    }

    #[test]
    fn one_claims_a_refresh_and_nobody_else_until_it_rests() {
        let now = kept();
        let entry = entry(now);
        let life = Life::new(&entry, Lease { stale: MINUTE, early_percent: 10 }, now);
        assert!(!life.claim(&entry, SECOND, now + SECOND), "not due yet");
        let due = now + SECOND * 55;
        let claims = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..8).map(|_| scope.spawn(|| life.claim(&entry, SECOND * 3, due))).collect();
            tries.into_iter().map(|t| t.join().unwrap()).filter(|won| *won).count()
        });
        assert_eq!(claims, 1);
        assert!(life.is_quiet(&entry, due + SECOND), "hits go the short way meanwhile");
        assert!(!life.claim(&entry, SECOND, due + SECOND));
        life.rest(&entry, SECOND, due + SECOND);
        assert!(!life.claim(&entry, SECOND, due + SECOND) && life.claim(&entry, SECOND, due + SECOND * 2));
        assert!(life.claim(&entry, SECOND, due + SECOND * 3), "a refresh that never ended is given up");
    }
}
