//! Flights: one run per key and generation, however many wait for it.
//!
//! A flight is a task of its own, so it belongs to no caller:
//! * each waiter leaves at its own deadline, and a first caller that goes away takes nobody along;
//! * a flight that nobody waits for is stopped, unless it *finishes*: it was sent to run to its end because its result is worth keeping;
//! * a flight that panics ends like any other: its waiters hear [`Lost`], its key is free.
//!
//! Purges forget flights ([`Flights::forget`]): who was waiting gets the answer, who comes later starts anew. A flight that boards just as
//! its key is purged may still enter the table; its generation then is older than the purge, and nobody joins it.
//!
//! Lock order: a shard's lock is innermost. Nothing that may hold a waiter, a landing or a task is dropped under it, because their drops lock it again.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

use tokio::time::{Instant, timeout_at};

use crate::generation::{Generation, Start};
use crate::simulation::{self, Flying, watch};
use crate::sync::{self, AbortHandle, AtomicBool, AtomicUsize, Mutex, MutexGuard, parts};
use crate::value::Key;

/// Parts of the table, each with a lock of its own.
const SHARDS: usize = parts(64);

/// One table of flights: loads or fetches. They never share one, or two nodes that take each other for a key's owner wait for each other for ever.
pub(crate) struct Flights<T> {
    shards: Box<[Shard<T>]>,
    running: AtomicUsize,
    limit: usize,
}

#[repr(align(128))]
struct Shard<T>(Mutex<Present<T>>);

/// The flights that may be joined until they land, and those that may only until they are sent. Apart, because a node whose grants come and go has both kinds,
/// and one must not push out the other: nobody would find it any more.
type Present<T> = [HashMap<Key, Arc<Flight<T>>>; 2];

struct Flight<T> {
    key: Key,
    shard: usize,
    generation: Generation,
    /// May be joined only until it is sent.
    unsent_only: bool,
    /// The flight that it waits for, which may outlast it.
    former: Option<Weak<Flight<T>>>,
    task: OnceLock<AbortHandle>,
    result: watch::Receiver<Option<T>>,
    /// Changed under the shard's lock only, as are all below.
    waiters: AtomicUsize,
    sent: AtomicBool,
    finishes: AtomicBool,
    stopped: AtomicBool,
    landed: AtomicBool,
}

/// Which flights a Get may join, and who may join the one that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    /// Any of the key's generation.
    Any,
    /// None (K2): neither it nor any later Get.
    Nobody,
    /// One that was not sent yet, and one at a time is sent: the answer is then from after the Get's own call, whatever was purged before (K3).
    Unsent,
}

impl Company {
    /// Where flights of this kind are among those of a shard.
    fn kind(self) -> usize {
        usize::from(self == Company::Unsent)
    }
}

/// How a Get came by its flight.
pub(crate) struct Boarded<T: Clone + Send + Sync + 'static> {
    /// To wait with.
    pub(crate) waiter: Waiter<T>,
    /// True if another Get had started it.
    pub(crate) joined: bool,
}

/// As many flights as may be are in the air.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Why a waiter has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// Its own time is up.
    Deadline,
    /// The flight ended without a result: it panicked, or the process is stopping.
    Flight,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// No flight yet, and never more than `limit`.
    pub(crate) fn new(limit: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Shard(Mutex::default())).collect();
        Flights { shards, running: AtomicUsize::new(0), limit }
    }

    /// Joins the key's flight if it may, or starts `run`.
    pub(crate) fn board<R, F>(
        self: &Arc<Self>,
        key: &Key,
        hash: u64,
        start: Start,
        how: Company,
        run: R,
    ) -> Result<Boarded<T>, Full>
    where
        R: FnOnce(Pilot<T>) -> F,
        F: Future<Output = T> + Send + 'static,
    {
        let at = (hash >> 16) as usize % SHARDS;
        let mut shard = self.shards[at].0.lock();
        // A flight from before the key's last purge is another flight (K1).
        let present = shard[how.kind()].get(key);
        if let Some(flight) = present.filter(|flight| flight.takes(how, start)) {
            flight.waiters.fetch_add(1, Ordering::Relaxed);
            let waiter = self.waiter(flight.clone());
            return Ok(Boarded { waiter, joined: true });
        }
        if self.running.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        let (outcome, result) = watch::channel(None);
        let former = present.filter(|_| how == Company::Unsent);
        let before = former.map(|flight| flight.result.clone());
        let former = former.map(Arc::downgrade);
        let flight = Arc::new(Flight::new(key.clone(), at, start.generation, how, former, result));
        let replaced =
            if how == Company::Nobody { None } else { shard[how.kind()].insert(key.clone(), flight.clone()) };
        drop(shard);
        drop(replaced);

        // Outside the lock: a runtime that is shutting down drops the task, and with it the landing, at once.
        let landing = Landing { flights: self.clone(), flight: flight.clone(), outcome, landed: None };
        let flying = Flying {
            generation: start.generation.to_number(),
            purged: start.purged.to_number(),
            shared: !flight.unsent_only,
            boarded: Instant::now(),
        };
        let run =
            simulation::led(run(Pilot { flights: self.clone(), flight: flight.clone(), before, flying }));
        let waiter = self.waiter(flight.clone());
        let task = sync::spawn(async move {
            let mut landing = landing;
            landing.landed = run.await;
        });
        // Nobody else stops it before this is set: our own waiter still counts.
        let _ = flight.task.set(task);
        Ok(Boarded { waiter, joined: false })
    }

    /// Lets no later Get join the key's flight (K1). Who waits for it goes on waiting.
    pub(crate) fn forget(&self, key: &Key, hash: u64) {
        let mut shard = self.shards[(hash >> 16) as usize % SHARDS].0.lock();
        let forgotten = shard.each_mut().map(|flights| flights.remove(key));
        drop(shard);
        drop(forgotten);
    }

    /// Lets no later Get join any flight of now (K5, G2).
    pub(crate) fn forget_all(&self) {
        for shard in &self.shards {
            let forgotten = std::mem::take(&mut *shard.0.lock());
            drop(forgotten);
        }
    }

    /// Flights in the air, forgotten ones too.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    fn waiter(self: &Arc<Self>, flight: Arc<Flight<T>>) -> Waiter<T> {
        let result = flight.result.clone();
        Waiter { flights: self.clone(), flight, result }
    }

    fn lock(&self, flight: &Flight<T>) -> MutexGuard<'_, Present<T>> {
        self.shards[flight.shard].0.lock()
    }

    /// The flight has landed: takes it out of the table if it is still the key's.
    fn strike(&self, flight: &Arc<Flight<T>>) {
        let mut shard = self.lock(flight);
        flight.landed.store(true, Ordering::Relaxed);
        let struck = flight.strike_from(&mut shard);
        drop(shard);
        drop(struck);
    }
}

impl<T> Flight<T> {
    fn new(
        key: Key,
        shard: usize,
        generation: Generation,
        how: Company,
        former: Option<Weak<Flight<T>>>,
        result: watch::Receiver<Option<T>>,
    ) -> Self {
        Flight {
            key,
            shard,
            generation,
            unsent_only: how == Company::Unsent,
            former,
            task: OnceLock::new(),
            result,
            waiters: AtomicUsize::new(1),
            sent: AtomicBool::new(false),
            finishes: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            landed: AtomicBool::new(false),
        }
    }

    /// Whether a Get that boards so may join it. To be called under the shard's lock.
    fn takes(&self, how: Company, start: Start) -> bool {
        match how {
            Company::Nobody => false,
            Company::Any => self.generation >= start.purged,
            Company::Unsent => !self.sent.load(Ordering::Relaxed),
        }
    }

    /// Takes the flight out of its shard if it is still the key's. The one that it waited for comes back while that flies: the next one is to wait for it.
    /// What is answered is dropped outside the shard's lock.
    fn strike_from(self: &Arc<Self>, shard: &mut Present<T>) -> [Option<Arc<Self>>; 2] {
        let shard = &mut shard[usize::from(self.unsent_only)];
        if !shard.get(&self.key).is_some_and(|present| Arc::ptr_eq(present, self)) {
            return [None, None];
        }
        let former = self.former.as_ref().and_then(Weak::upgrade);
        match former {
            Some(former) if !former.landed.load(Ordering::Relaxed) => {
                [shard.insert(self.key.clone(), former), None]
            }
            landed => [shard.remove(&self.key), landed],
        }
    }
}

/// The run's own handle on its flight.
pub(crate) struct Pilot<T> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
    /// The flight that it waits for: see [`Company::Unsent`].
    before: Option<watch::Receiver<Option<T>>>,
    /// For the simulation's judges.
    flying: Flying,
}

impl<T: Clone + Send + Sync + 'static> Pilot<T> {
    /// True if every Get of the key's generation may join it, whatever it has sent.
    pub(crate) fn is_shared(&self) -> bool {
        !self.flight.unsent_only
    }

    /// Says whose load begins now.
    pub(crate) fn calls_the_loader(&self) {
        simulation::flies(self.flying);
    }

    /// Waits until the flight before it has landed, if there is one.
    pub(crate) fn after_the_one_before(&self) -> impl Future<Output = ()> + Send + use<T> {
        let before = self.before.clone();
        async move {
            if let Some(mut before) = before {
                // One that ended without a result has ended too.
                let _ = before.wait_for(Option::is_some).await;
            }
        }
    }

    /// With `finish` the flight runs to its end from here on, even if nobody waits. False if nobody waited any more: then it must end now.
    pub(crate) fn send(&self, finish: bool) -> bool {
        let _shard = self.flights.lock(&self.flight);
        let stopped = self.flight.stopped.load(Ordering::Relaxed);
        self.flight.sent.store(!stopped, Ordering::Relaxed);
        self.flight.finishes.store(finish && !stopped, Ordering::Relaxed);
        !stopped
    }
}

/// Held by the task: however it ends, the key is free before anyone hears of it.
struct Landing<T: Clone + Send + Sync + 'static> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
    outcome: watch::Sender<Option<T>>,
    landed: Option<T>,
}

impl<T: Clone + Send + Sync + 'static> Drop for Landing<T> {
    fn drop(&mut self) {
        self.flights.strike(&self.flight);
        self.flights.running.fetch_sub(1, Ordering::Relaxed);
        // Without a result the sender is dropped next, and waiters find the flight lost.
        if let Some(landed) = self.landed.take() {
            self.outcome.send_replace(Some(landed));
        }
    }
}

/// One who waits for a flight. Dropping it is leaving.
pub(crate) struct Waiter<T: Clone + Send + Sync + 'static> {
    flights: Arc<Flights<T>>,
    flight: Arc<Flight<T>>,
    result: watch::Receiver<Option<T>>,
}

impl<T: Clone + Send + Sync + 'static> Waiter<T> {
    /// The flight's result, if it comes by `deadline`.
    pub(crate) async fn wait(mut self, deadline: Instant) -> Result<T, Lost> {
        match timeout_at(deadline, self.result.wait_for(Option::is_some)).await {
            Err(_) => Err(Lost::Deadline),
            Ok(Err(_)) => Err(Lost::Flight),
            Ok(Ok(result)) => result.clone().ok_or(Lost::Flight),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Drop for Waiter<T> {
    fn drop(&mut self) {
        let mut shard = self.flights.lock(&self.flight);
        let last = self.flight.waiters.fetch_sub(1, Ordering::Relaxed) == 1;
        let stop = last && !self.flight.finishes.load(Ordering::Relaxed);
        self.flight.stopped.fetch_or(stop, Ordering::Relaxed);
        // Struck under the same lock, not by the task's end, which may take a moment: nobody may join a flight that is being stopped.
        let struck = if stop { self.flight.strike_from(&mut shard) } else { [None, None] };
        drop(shard);
        drop(struck);
        if let Some(task) = self.flight.task.get().filter(|_| stop) {
            task.abort();
        }
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod schedules;
#[cfg(test)]
mod tests;
