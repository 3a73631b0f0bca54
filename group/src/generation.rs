//! Generations: tell a value loaded before a purge from one loaded after it, under striped locks.
//!
//! The fence, rule **K1**: {is the generation still standing? + insert} and {raise the generation + drop the copies} exclude each other,
//! because both run inside the same stripe's lock. A check alone leaks: the purge may come between it and the insert.
//!
//! Windows, rule **K2**: for a while after a purge, a *fetch* of the key that starts may bring an old value from an owner that is not purged yet.
//! [`Start::in_window`] says so; who starts such a fetch may answer it, but neither keeps it nor lets anyone join it.
//!
//! Lags: sources that read from replicas may answer an old value for a while after a purge. [`Start::in_lag`] says so; what is loaded then may be
//! joined and answered, but is not kept.
//!
//! Floors: a purge may state the source's own version. What the source calls older is not kept, whenever it was loaded. A floor lasts as long as
//! its purge is on record: it is forgotten only when its stripe needs room and its window and lag are over, or its stripe is full of open ones
//! that have floors themselves; and by a restart.
//!
//! All of it is per key: a purge costs its own key's copies and flights, never its neighbours'. The table of purged keys is bounded;
//! a stripe that is full of open windows opens one for all its keys, and that is counted.
//!
//! Lock order: a stripe's lock is taken first and alone; inside it run a store's operations and atomics, nothing else.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::expiry::after;

/// Locks of one group: enough that writers on 64 cores rarely meet; 128 KiB of them.
const STRIPES: usize = 1024;

/// Purged keys a stripe remembers. All stripes together: 32,768 windows open at once, at most 1 MiB.
const RECORDS: usize = 32;

/// A point in the order of purges of one stripe: compare only those of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(u64);

/// What held when a load or fetch of a key started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The generation it starts in. Its result may be kept while this one stands.
    pub(crate) generation: Generation,
    /// The key's last purge: a flight that started in an older generation is not to be joined.
    pub(crate) purged: Generation,
    /// True inside the key's window (K2).
    pub(crate) in_window: bool,
    /// True while the source may still answer what was before the key's last purge.
    pub(crate) in_lag: bool,
}

/// What a purge brings with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// For how long the key's window is open.
    pub(crate) window: Duration,
    /// For how long the source may lag behind.
    pub(crate) lag: Duration,
    /// The source's version from which on results may be kept.
    pub(crate) floor: Option<u64>,
}

/// The generations of one group's keys. Keys are told apart by a hash of 64 bits: two that share one also share purges, which is safe.
#[derive(Debug)]
pub(crate) struct Generations {
    stripes: Box<[Stripe]>,
    overflows: AtomicU64,
}

/// One lock and the purges it guards, on cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe(Mutex<Purges>);

#[derive(Debug)]
struct Purges {
    /// Purges so far: the present generation of every key here.
    count: u64,
    /// Every key here counts as purged at this one at least: the newest purge that is no longer, or never was, on record.
    floor: u64,
    /// What is open for every key here.
    open: Open,
    /// The last purge of single keys; at most [`RECORDS`].
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    hash: u64,
    purged: u64,
    open: Open,
    /// The highest source version a purge has stated; results below it are not kept.
    version: Option<u64>,
}

/// Until when a window is open, and until when the source may lag.
#[derive(Clone, Copy, Debug)]
struct Open {
    window: Instant,
    lag: Instant,
}

impl Open {
    fn from(now: Instant, bounds: Bounds) -> Self {
        Open { window: after(now, bounds.window), lag: after(now, bounds.lag) }
    }

    fn widen(&mut self, other: Open) {
        self.window = self.window.max(other.window);
        self.lag = self.lag.max(other.lag);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.window <= now && self.lag <= now
    }
}

impl Generations {
    /// No key purged yet, and every window and lag open: a process begins as if all had just been purged (K4).
    pub(crate) fn new(now: Instant, bounds: Bounds) -> Self {
        let stripe = || {
            let purges = Purges { count: 0, floor: 0, open: Open::from(now, bounds), records: Vec::new() };
            Stripe(Mutex::new(purges))
        };
        Generations { stripes: (0..STRIPES).map(|_| stripe()).collect(), overflows: AtomicU64::new(0) }
    }

    /// What holds for a load or fetch of the key that starts now.
    pub(crate) fn start(&self, hash: u64, now: Instant) -> Start {
        let purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        let open = |until: fn(&Open) -> Instant| {
            now < until(&purges.open) || record.is_some_and(|record| now < until(&record.open))
        };
        Start {
            generation: Generation(purges.count),
            purged: Generation(purges.last(record)),
            in_window: open(|open| open.window),
            in_lag: open(|open| open.lag),
        }
    }

    /// Runs `keep` if the key was not purged since `generation`, and no purge has called `version` of the source too old; no purge of it can come
    /// between (K1).
    pub(crate) fn if_stands<R>(
        &self,
        hash: u64,
        generation: Generation,
        version: Option<u64>,
        keep: impl FnOnce() -> R,
    ) -> Option<R> {
        let purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        let floor = record.and_then(|record| record.version);
        let too_old = version.zip(floor).is_some_and(|(version, floor)| version < floor);
        (purges.last(record) <= generation.0 && !too_old).then(keep)
    }

    /// Raises the key's generation, opens its window and runs `drop_copies`; nothing can be kept between (K1, K2).
    pub(crate) fn purge(&self, hash: u64, now: Instant, bounds: Bounds, drop_copies: impl FnOnce()) {
        let mut purges = self.stripe(hash).lock();
        if !purges.raise(hash, now, bounds) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        drop_copies();
    }

    /// Raises every key's generation: whatever is on its way will not be kept (K5, G2). Windows stay as they are.
    pub(crate) fn raise_all(&self) {
        for stripe in &self.stripes {
            let mut purges = stripe.0.lock();
            purges.count += 1;
            purges.floor = purges.count;
        }
    }

    /// Purges that found their stripe's table full and opened a window for the whole stripe.
    pub(crate) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    fn stripe(&self, hash: u64) -> &Mutex<Purges> {
        &self.stripes[hash as usize % STRIPES].0
    }
}

impl Purges {
    /// The key's last purge, given its record.
    fn last(&self, record: Option<&Record>) -> u64 {
        record.map_or(self.floor, |record| record.purged.max(self.floor))
    }

    /// Notes a purge; false if only the whole stripe could be raised.
    fn raise(&mut self, hash: u64, now: Instant, bounds: Bounds) -> bool {
        self.count += 1;
        let purged = self.count;
        let open = Open::from(now, bounds);
        if let Some(record) = self.records.iter_mut().find(|record| record.hash == hash) {
            record.purged = purged;
            record.open.widen(open);
            record.version = record.version.max(bounds.floor);
            return true;
        }
        // Those that state a version go last: what they say is known nowhere else.
        for has_version in [false, true] {
            if self.records.len() == RECORDS {
                self.forget(|record| record.open.is_over(now) && record.version.is_some() == has_version);
            }
        }
        let record = Record { hash, purged, open, version: bounds.floor };
        if self.records.len() < RECORDS {
            self.records.push(record);
            return true;
        }
        self.floor = purged;
        self.open.widen(open);
        if bounds.floor.is_some() {
            self.supplant(record);
        }
        false
    }

    /// Drops these records. Their purges go into the floor, so that a flight older than one of them is still seen to be:
    /// it costs the stripe's other flights of that age a result that is not kept, nothing more.
    fn forget(&mut self, which: impl Fn(&Record) -> bool) {
        let mut floor = self.floor;
        self.records.retain(|record| {
            let forget = which(record);
            if forget {
                floor = floor.max(record.purged);
            }
            !forget
        });
        self.floor = floor;
    }

    /// Puts a record that states a version in the place of an open one, whose window and lag become the whole stripe's: the oldest without a
    /// version, or the oldest of all.
    fn supplant(&mut self, record: Record) {
        let oldest = self.records.iter_mut().min_by_key(|record| (record.version.is_some(), record.purged));
        if let Some(oldest) = oldest {
            self.open.widen(oldest.open);
            *oldest = record;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const W: Bounds = Bounds { window: SECOND, lag: Duration::ZERO, floor: None };

    fn after_the_first_window() -> (Generations, Instant) {
        let born = Instant::now();
        (Generations::new(born, W), born + SECOND)
    }

    fn stands(generations: &Generations, hash: u64, start: Start) -> bool {
        generations.if_stands(hash, start.generation, None, || ()).is_some()
    }

    fn takes(generations: &Generations, hash: u64, version: Option<u64>, now: Instant) -> bool {
        let start = generations.start(hash, now);
        generations.if_stands(hash, start.generation, version, || ()).is_some()
    }

    #[test]
    fn a_process_begins_with_an_open_window() {
        let born = Instant::now();
        let generations = Generations::new(born, W);
        assert!(generations.start(7, born).in_window);
        assert!(!generations.start(7, born + SECOND).in_window);
    }

    #[test]
    fn what_started_before_a_purge_is_not_kept_and_what_started_after_is() {
        let (generations, now) = after_the_first_window();
        let before = generations.start(7, now);
        generations.purge(7, now, W, || ());
        let after = generations.start(7, now);
        assert!(!stands(&generations, 7, before));
        assert!(before.generation < after.purged, "and it is not to be joined");
        assert!(stands(&generations, 7, after));
        assert!(after.generation >= after.purged);
        assert!(after.in_window);
        assert!(!generations.start(7, now + SECOND).in_window);
    }

    /// A check or a raise that lets go of the lock before it acts would leave a gap for the other.
    #[test]
    fn keeping_and_dropping_happen_inside_the_lock() {
        let (generations, now) = after_the_first_window();
        let start = generations.start(7, now);
        let locked = || generations.stripe(7).is_locked();
        assert_eq!(generations.if_stands(7, start.generation, None, locked), Some(true));
        generations.purge(7, now, W, || assert!(locked()));
        assert!(!locked());
    }

    #[test]
    fn a_purge_leaves_its_neighbours_in_the_stripe_alone() {
        let (generations, now) = after_the_first_window();
        let neighbour = 7 + STRIPES as u64;
        let before = generations.start(neighbour, now);
        generations.purge(7, now, W, || ());
        assert!(stands(&generations, neighbour, before));
        assert!(!generations.start(neighbour, now).in_window);
    }

    #[test]
    fn a_forgotten_record_still_fences_what_is_older() {
        let (generations, now) = after_the_first_window();
        let before = generations.start(0, now);
        generations.purge(0, now, W, || ());
        let later = now + SECOND;
        let after = generations.start(0, later);
        for other in 1..=RECORDS as u64 {
            generations.purge(other * STRIPES as u64, later, W, || ());
        }
        assert_eq!(generations.overflows(), 0, "closed windows make room");
        assert!(!stands(&generations, 0, before));
        assert!(stands(&generations, 0, after));
    }

    #[test]
    fn a_full_stripe_opens_one_window_for_all_and_counts_it() {
        let (generations, now) = after_the_first_window();
        let bystander = 5_000 * STRIPES as u64;
        let before = generations.start(bystander, now);
        for key in 0..=RECORDS as u64 {
            generations.purge(key * STRIPES as u64, now, W, || ());
        }
        assert_eq!(generations.overflows(), 1);
        assert!(generations.start(bystander, now).in_window);
        assert!(!stands(&generations, bystander, before));
        assert!(!generations.start(1, now).in_window, "other stripes are untouched");
    }

    #[test]
    fn raising_all_fences_everything_on_its_way() {
        let (generations, now) = after_the_first_window();
        let starts: Vec<_> = (0..100).map(|key| generations.start(key, now)).collect();
        generations.raise_all();
        assert!((0..100).zip(starts).all(|(key, start)| !stands(&generations, key, start)));
        assert!(stands(&generations, 3, generations.start(3, now)));
    }

    #[test]
    fn a_source_lags_after_a_purge_for_its_own_time_and_before_anything_is_known() {
        let lag = Bounds { lag: SECOND * 5, ..W };
        let born = Instant::now();
        let generations = Generations::new(born, lag);
        assert!(generations.start(7, born + SECOND * 4).in_lag, "a process begins as if all had been purged");
        let now = born + SECOND * 5;
        assert!(!generations.start(7, now).in_lag);
        generations.purge(7, now, lag, || ());
        let start = generations.start(7, now + SECOND * 4);
        assert!(start.in_lag && !start.in_window && stands(&generations, 7, start));
        assert!(!generations.start(7 + STRIPES as u64, now).in_lag, "its neighbours do not");
        // A record lives until both are over.
        for other in 1..=RECORDS as u64 {
            generations.purge(7 + other * STRIPES as u64, now + SECOND * 4, W, || ());
        }
        assert!(generations.start(7, now + SECOND * 4).in_lag);
        assert!(!generations.start(7, now + SECOND * 5).in_lag);
    }

    #[test]
    fn a_full_stripe_lags_as_a_whole() {
        let (generations, now) = after_the_first_window();
        for key in 0..=RECORDS as u64 {
            generations.purge(key * STRIPES as u64, now, Bounds { lag: SECOND * 5, ..W }, || ());
        }
        assert!(generations.start(RECORDS as u64 * STRIPES as u64, now + SECOND * 4).in_lag);
    }

    #[test]
    fn what_the_source_calls_older_than_a_purge_is_not_kept() {
        let (generations, now) = after_the_first_window();
        let from = |version| Bounds { floor: Some(version), ..W };
        generations.purge(7, now, from(5), || ());
        generations.purge(7, now, from(3), || ());
        generations.purge(7, now, W, || ());
        assert!(!takes(&generations, 7, Some(4), now));
        assert!(takes(&generations, 7, Some(5), now) && takes(&generations, 7, None, now));
        assert!(
            takes(&generations, 7 + STRIPES as u64, Some(1), now),
            "other keys have versions of their own"
        );
        // Later, and with other purges that need room, it still holds: those without a version make it.
        for round in 1..=4u32 {
            for other in 1..=RECORDS as u64 - 1 {
                generations.purge(7 + other * STRIPES as u64, now + SECOND * (round * 2), W, || ());
            }
            let last = 7 + (90 + u64::from(round)) * STRIPES as u64;
            generations.purge(last, now + SECOND * (round * 2 + 1), W, || ());
        }
        assert!(!takes(&generations, 7, Some(4), now + SECOND * 60));
    }

    #[test]
    fn a_version_finds_a_place_even_in_a_full_stripe() {
        let (generations, now) = after_the_first_window();
        for key in 0..RECORDS as u64 {
            generations.purge(key * STRIPES as u64, now, W, || ());
        }
        let before = generations.start(0, now);
        let late = 99 * STRIPES as u64;
        generations.purge(late, now, Bounds { floor: Some(5), ..W }, || ());
        assert_eq!(generations.overflows(), 1);
        assert!(!takes(&generations, late, Some(4), now) && takes(&generations, late, Some(5), now));
        assert!(generations.start(0, now).in_window, "whose place it took stays in the window");
        assert!(!stands(&generations, 0, before), "and fenced");
    }
}
