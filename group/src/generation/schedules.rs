//! The fence under every order of threads: once a purge has returned, nothing is kept that started before it.
//!
//! A source counts its own changes; a loader keeps what it read there; whoever changed it purges, and then finds nothing older. The same is told to
//! callers that step outside the lock, and the checker has to find the order that breaks them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::{check_dfs, check_pct, check_random, thread};
use tokio::time::Instant;

use super::*;

const HASH: u64 = 7;
const W: Bounds = Bounds { window: Duration::from_secs(1), lag: Duration::ZERO, floor: None };

/// Orders that chance tries for each test.
const SCHEDULES: usize = 3_000;

/// More orders than one load and one change have.
const SEARCHED: usize = 50_000;

/// Threads that are pre-empted so often find most faults.
const DEPTH: usize = 3;

struct World {
    now: Instant,
    generations: Generations,
    /// What the source says now.
    source: AtomicU64,
    /// What is kept of it.
    held: Mutex<Option<u64>>,
}

/// How a caller uses the fence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// As it is meant.
    Sound,
    /// Asks whether the generation stands, and keeps afterwards.
    ChecksFirst,
    /// Drops the copies, and raises the generation afterwards.
    DropsFirst,
}

impl World {
    fn new() -> Arc<Self> {
        let now = Instant::now();
        let generations = Generations::new(now, W);
        Arc::new(World { now, generations, source: AtomicU64::new(0), held: Mutex::new(None) })
    }

    /// The copies are changed in two steps, so that there is a moment in between.
    fn hold(&self, value: Option<u64>) {
        thread::yield_now();
        *self.held.lock() = value;
    }

    fn load(&self, caller: Caller) {
        let start = self.generations.start(HASH, self.now);
        let value = self.source.load(Ordering::SeqCst);
        if caller == Caller::ChecksFirst {
            if self.generations.if_stands(HASH, start.generation, None, || ()).is_some() {
                self.hold(Some(value));
            }
        } else {
            self.generations.if_stands(HASH, start.generation, None, || self.hold(Some(value)));
        }
    }

    /// Changes the source and purges; from then on nothing older may be held.
    fn change(&self, caller: Caller) {
        let floor = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        if caller == Caller::DropsFirst {
            self.hold(None);
            self.generations.purge(HASH, self.now, W, || ());
        } else {
            self.generations.purge(HASH, self.now, W, || self.hold(None));
        }
        self.holds_nothing_before(floor);
    }

    /// A Set: its value is as new as its purge, and is kept here unless a later change stands.
    fn set(&self) {
        let generation = self.generations.purge(HASH, self.now, W, || self.hold(None));
        let value = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        if self.generations.store(HASH, generation, None, self.now, || self.hold(Some(value))) {
            self.holds_nothing_before(value);
        }
    }

    /// All keys at once; the copies go afterwards, as they do where whole caches are swapped.
    fn change_all(&self) {
        let floor = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.generations.purge_all(self.now, W);
        self.hold(None);
        self.holds_nothing_before(floor);
    }

    fn holds_nothing_before(&self, floor: u64) {
        let held = *self.held.lock();
        assert!(
            held.is_none_or(|value| value >= floor),
            "{held:?} is held after the purge of change {floor}"
        );
    }
}

/// What runs at once, each part in a thread of its own.
type Parts = Vec<Box<dyn FnOnce(&World) + Send>>;

fn run(parts: Parts) {
    let world = World::new();
    let threads: Vec<_> = parts
        .into_iter()
        .map(|part| {
            let world = Arc::clone(&world);
            thread::spawn(move || part(&world))
        })
        .collect();
    for one in threads {
        one.join().unwrap();
    }
    world.holds_nothing_before(0);
}

fn one_load_and_one_change(caller: Caller) {
    run(vec![
        Box::new(move |world| world.load(caller)),
        Box::new(move |world| {
            world.change(caller);
        }),
    ]);
}

fn many_at_once() {
    run(vec![
        Box::new(|world| world.load(Caller::Sound)),
        Box::new(|world| {
            world.load(Caller::Sound);
            world.load(Caller::Sound);
        }),
        Box::new(|world| {
            world.change(Caller::Sound);
            world.set();
        }),
        Box::new(World::set),
        Box::new(World::change_all),
    ]);
}

/// True if some order breaks it.
fn is_broken(scenario: impl Fn() + Send + Sync + 'static) -> bool {
    catch_unwind(AssertUnwindSafe(|| check_random(scenario, SCHEDULES))).is_err()
}

#[test]
fn every_order_of_a_load_and_a_purge_leaves_nothing_old() {
    static TRIED: AtomicUsize = AtomicUsize::new(0);
    let scenario = || {
        TRIED.fetch_add(1, Ordering::SeqCst);
        one_load_and_one_change(Caller::Sound);
    };
    check_dfs(scenario, Some(SEARCHED));
    let tried = TRIED.load(Ordering::SeqCst);
    assert!(tried < SEARCHED, "there are more orders than {tried}");
}

#[test]
fn loads_sets_and_purges_at_once_leave_nothing_old() {
    check_random(many_at_once, SCHEDULES);
    check_pct(many_at_once, SCHEDULES / 4, DEPTH);
}

#[test]
fn the_checker_finds_a_check_outside_the_lock() {
    assert!(is_broken(|| one_load_and_one_change(Caller::ChecksFirst)));
}

#[test]
fn the_checker_finds_copies_dropped_before_the_generation_is_raised() {
    assert!(is_broken(|| one_load_and_one_change(Caller::DropsFirst)));
}
