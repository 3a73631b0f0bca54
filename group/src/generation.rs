//! Generations: tell a value loaded before a purge from one loaded after it, under striped locks.
//!
//! The fence, rule **K1**: {is the generation still standing? + insert} and {raise the generation + drop the copies} exclude each other,
//! because both run inside the same stripe's lock. A check alone leaks: the purge may come between it and the insert.
//!
//! Windows, rule **K2**: for a while after a purge, a *fetch* of the key that starts may bring an old value from an owner that is not purged yet.
//! [`Start::in_window`] says so; who starts such a fetch may answer it, but neither keeps it nor lets anyone join it.
//!
//! Both are per key: a purge costs its own key's copies and flights, never its neighbours'. The table of purged keys is bounded;
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

impl Generation {
    /// As it travels to the node that coordinates a Set.
    pub(crate) fn to_number(self) -> u64 {
        self.0
    }

    /// As it came back.
    pub(crate) fn from_number(number: u64) -> Self {
        Generation(number)
    }
}

/// What held when a load or fetch of a key started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The generation it starts in. Its result may be kept while this one stands.
    pub(crate) generation: Generation,
    /// The key's last purge: a flight that started in an older generation is not to be joined.
    pub(crate) purged: Generation,
    /// True inside the key's window (K2).
    pub(crate) in_window: bool,
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
    /// Until when the window of every key here is open.
    open_until: Instant,
    /// The last purge of single keys; at most [`RECORDS`].
    records: Vec<Record>,
}

#[derive(Debug)]
struct Record {
    hash: u64,
    purged: u64,
    open_until: Instant,
}

impl Generations {
    /// No key purged yet, and every window open for `window`: a process begins as if all had just been purged (K4).
    pub(crate) fn new(now: Instant, window: Duration) -> Self {
        let stripe = || {
            let purges = Purges { count: 0, floor: 0, open_until: after(now, window), records: Vec::new() };
            Stripe(Mutex::new(purges))
        };
        Generations { stripes: (0..STRIPES).map(|_| stripe()).collect(), overflows: AtomicU64::new(0) }
    }

    /// What holds for a load or fetch of the key that starts now.
    pub(crate) fn start(&self, hash: u64, now: Instant) -> Start {
        let purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        Start {
            generation: Generation(purges.count),
            purged: Generation(purges.last(record)),
            in_window: now < purges.open_until || record.is_some_and(|record| now < record.open_until),
        }
    }

    /// Runs `keep` if the key was not purged since `generation`; no purge of it can come between (K1).
    pub(crate) fn if_stands<R>(
        &self,
        hash: u64,
        generation: Generation,
        keep: impl FnOnce() -> R,
    ) -> Option<R> {
        let purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        (purges.last(record) <= generation.0).then(keep)
    }

    /// Raises the key's generation, opens its window and runs `drop_copies`; nothing can be kept between (K1, K2).
    /// Answers the generation it is raised to.
    pub(crate) fn purge(
        &self,
        hash: u64,
        now: Instant,
        window: Duration,
        drop_copies: impl FnOnce(),
    ) -> Generation {
        let mut purges = self.stripe(hash).lock();
        if !purges.raise(hash, now, after(now, window)) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        drop_copies();
        Generation(purges.count)
    }

    /// Runs `put` if the key was not purged since the purge that answered `generation`, and fences every load before it: what was Set is not
    /// overwritten by what was loaded earlier. False if a later purge stands.
    pub(crate) fn store(&self, hash: u64, generation: Generation, now: Instant, put: impl FnOnce()) -> bool {
        let mut purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        let (last, open_until) = (purges.last(record), record.map_or(now, |record| record.open_until));
        if last > generation.0 {
            return false;
        }
        if !purges.raise(hash, now, open_until) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        put();
        true
    }

    /// Raises every key's generation: whatever is on its way will not be kept (K5, G2). Windows stay as they are.
    pub(crate) fn raise_all(&self) {
        for stripe in &self.stripes {
            let mut purges = stripe.0.lock();
            purges.count += 1;
            purges.floor = purges.count;
        }
    }

    /// Raises every key's generation and opens every window: all keys are purged (K1, K2). The copies are the caller's to drop, afterwards.
    pub(crate) fn purge_all(&self, now: Instant, window: Duration) {
        for stripe in &self.stripes {
            let mut purges = stripe.0.lock();
            purges.count += 1;
            purges.floor = purges.count;
            purges.open_until = purges.open_until.max(after(now, window));
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
    fn raise(&mut self, hash: u64, now: Instant, open_until: Instant) -> bool {
        self.count += 1;
        let purged = self.count;
        if let Some(record) = self.records.iter_mut().find(|record| record.hash == hash) {
            record.purged = purged;
            record.open_until = record.open_until.max(open_until);
            return true;
        }
        if self.records.len() == RECORDS {
            self.forget_closed(now);
        }
        if self.records.len() == RECORDS {
            self.floor = purged;
            self.open_until = self.open_until.max(open_until);
            return false;
        }
        self.records.push(Record { hash, purged, open_until });
        true
    }

    /// Drops the records whose windows are over. Their purges go into the floor, so that a flight older than one of them is still seen to be:
    /// it costs the stripe's other flights of that age a result that is not kept, nothing more.
    fn forget_closed(&mut self, now: Instant) {
        let mut floor = self.floor;
        self.records.retain(|record| {
            let open = now < record.open_until;
            if !open {
                floor = floor.max(record.purged);
            }
            open
        });
        self.floor = floor;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const W: Duration = Duration::from_secs(1);

    fn after_the_first_window() -> (Generations, Instant) {
        let born = Instant::now();
        (Generations::new(born, W), born + W)
    }

    fn stands(generations: &Generations, hash: u64, start: Start) -> bool {
        generations.if_stands(hash, start.generation, || ()).is_some()
    }

    #[test]
    fn a_process_begins_with_an_open_window() {
        let born = Instant::now();
        let generations = Generations::new(born, W);
        assert!(generations.start(7, born).in_window);
        assert!(!generations.start(7, born + W).in_window);
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
        assert!(!generations.start(7, now + W).in_window);
    }

    /// A check or a raise that lets go of the lock before it acts would leave a gap for the other.
    #[test]
    fn keeping_and_dropping_happen_inside_the_lock() {
        let (generations, now) = after_the_first_window();
        let start = generations.start(7, now);
        let locked = || generations.stripe(7).is_locked();
        assert_eq!(generations.if_stands(7, start.generation, locked), Some(true));
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
        let later = now + W;
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
}
