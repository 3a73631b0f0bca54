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

use tokio::time::Instant;

use crate::expiry::after;
use crate::simulation::{Rule, off};
use crate::sync::{Mutex, parts};

/// Locks of one group: enough that writers on 64 cores rarely meet; 128 KiB of them.
const STRIPES: usize = parts(1024);

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
        let bounds = if off(Rule::FirstWindow) { Bounds::default() } else { bounds };
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
            in_window: open(|open| open.window) && !off(Rule::Window),
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
        ((purges.last(record) <= generation.0 && !too_old) || off(Rule::Fence)).then(keep)
    }

    /// Raises the key's generation, opens its window and runs `drop_copies`; nothing can be kept between (K1, K2).
    /// Answers the generation it is raised to.
    pub(crate) fn purge(
        &self,
        hash: u64,
        now: Instant,
        bounds: Bounds,
        drop_copies: impl FnOnce(),
    ) -> Generation {
        let mut purges = self.stripe(hash).lock();
        if !purges.raise(hash, now, bounds) {
            self.overflows.fetch_add(1, Ordering::Relaxed);
        }
        drop_copies();
        Generation(purges.count)
    }

    /// Runs `put` if the key was not purged since the purge that answered `generation`, and fences every load before it: what was Set is not
    /// overwritten by what was loaded earlier. False if a later purge stands.
    pub(crate) fn store(
        &self,
        hash: u64,
        generation: Generation,
        version: Option<u64>,
        now: Instant,
        put: impl FnOnce(),
    ) -> bool {
        let mut purges = self.stripe(hash).lock();
        let record = purges.records.iter().find(|record| record.hash == hash);
        let too_old =
            version.zip(record.and_then(|record| record.version)).is_some_and(|(v, floor)| v < floor);
        if purges.last(record) > generation.0 || too_old {
            return false;
        }
        // It opens no window: there is nothing older to fetch any more.
        let bounds = Bounds { window: Duration::ZERO, lag: Duration::ZERO, floor: None };
        if !purges.raise(hash, now, bounds) {
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
    pub(crate) fn purge_all(&self, now: Instant, bounds: Bounds) {
        for stripe in &self.stripes {
            let mut purges = stripe.0.lock();
            purges.count += 1;
            purges.floor = purges.count;
            purges.open.widen(Open::from(now, bounds));
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
#[cfg(feature = "shuttle")]
mod schedules;
#[cfg(test)]
mod tests;
