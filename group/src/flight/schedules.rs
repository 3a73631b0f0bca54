//! Flights under every order of tasks: whoever waits gets an answer from after its own call, whatever others do.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use shuttle::{check_pct, check_random, future, thread};

use super::*;
use crate::generation::{Bounds, Generations};

const HASH: u64 = 42;

/// Orders that chance tries for each test.
const SCHEDULES: usize = 3_000;

/// Threads that are pre-empted so often find most faults.
const DEPTH: usize = 3;

/// What a flight ends with: how it was boarded, and what the source said.
type Said = (Company, u64);

struct World {
    flights: Arc<Flights<Said>>,
    generations: Generations,
    key: Key,
    /// What the source says now.
    source: Arc<AtomicU64>,
    /// Runs that ask the source now.
    asking: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Arc<Self> {
        let generations = Generations::new(Instant::now(), Bounds::default());
        let key = Key::new("k", 9).unwrap();
        let flights = Arc::new(Flights::new(16));
        Arc::new(World { flights, generations, key, source: Arc::default(), asking: Arc::default() })
    }

    /// Boards as a Get does. The answer is as old as may be: from the moment of boarding, as an owner may give it that no purge has reached yet.
    /// Only a flight that can be joined until it is sent asks then. A run that is not to be sent says so with 0.
    fn board(&self, how: Company) -> Waiter<Said> {
        let start = self.generations.start(HASH, Instant::now());
        let at_first = self.source.load(Ordering::SeqCst);
        let (source, asking) = (self.source.clone(), self.asking.clone());
        let run = move |pilot: Pilot<Said>| async move {
            pilot.after_the_one_before().await;
            future::yield_now().await;
            if !pilot.send(true) {
                return (how, 0);
            }
            let others = asking.fetch_add(1, Ordering::SeqCst);
            assert!(how != Company::Unsent || others == 0, "one at a time is sent");
            let value = if how == Company::Unsent { source.load(Ordering::SeqCst) } else { at_first };
            future::yield_now().await;
            asking.fetch_sub(1, Ordering::SeqCst);
            (how, value)
        };
        self.flights
            .board(&self.key, HASH, start, how, run)
            .unwrap_or_else(|_| panic!("there is room"))
            .waiter
    }

    /// A Get that waits: what it gets is no older than `floor`.
    fn get(&self, how: Company, floor: u64) {
        let mut waiter = self.board(how);
        let landed = future::block_on(async {
            waiter.result.wait_for(Option::is_some).await.map(|value| value.as_ref().copied())
        });
        let (boarded, value) = landed.expect("a flight that somebody waits for lands").expect("a result");
        assert_eq!(boarded, how, "it joined a flight of another kind");
        assert!(value >= floor, "{value} is from before the call, {floor} was said before it");
    }

    fn leave(&self, how: Company) {
        let waiter = self.board(how);
        thread::yield_now();
        drop(waiter);
    }

    /// Changes the source and purges the key; a Get that starts now finds the change.
    fn change(&self) -> u64 {
        let floor = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        self.generations.purge(HASH, Instant::now(), Bounds::default(), || ());
        self.flights.forget(&self.key, HASH);
        floor
    }
}

/// What runs at once, each part in a thread of its own.
type Parts = Vec<Box<dyn FnOnce(&World) + Send>>;

fn run(parts: Parts) {
    let world = World::new();
    // The first answer differs from "not sent".
    world.source.store(1, Ordering::SeqCst);
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
    // Landings strike their flights before they count down.
    while world.flights.running() > 0 {
        thread::yield_now();
    }
    assert!(
        world.flights.shards.iter().all(|shard| shard.0.lock().iter().all(HashMap::is_empty)),
        "a flight is left behind"
    );
}

fn search(parts: fn() -> Parts) {
    check_random(move || run(parts()), SCHEDULES);
    check_pct(move || run(parts()), SCHEDULES / 4, DEPTH);
}

#[test]
fn whoever_leaves_takes_nobody_along() {
    search(|| {
        vec![
            Box::new(|world| world.leave(Company::Any)),
            Box::new(|world| world.get(Company::Any, 1)),
            Box::new(|world| world.leave(Company::Any)),
        ]
    });
}

#[test]
fn a_get_after_a_purge_never_joins_a_flight_from_before_it() {
    search(|| {
        vec![
            Box::new(|world| world.get(Company::Any, 1)),
            Box::new(|world| {
                let floor = world.change();
                world.get(Company::Any, floor);
            }),
            Box::new(|world| {
                world.leave(Company::Any);
                let floor = world.change();
                world.get(Company::Any, floor);
            }),
        ]
    });
}

/// K3: no purge says that anything has changed, and still nobody gets an answer from before its own call.
#[test]
fn an_unsent_flight_answers_from_after_every_call_that_joined_it() {
    search(|| {
        let change_and_get = |world: &World| {
            let floor = world.source.fetch_add(1, Ordering::SeqCst) + 1;
            world.get(Company::Unsent, floor);
        };
        vec![
            Box::new(change_and_get),
            Box::new(change_and_get),
            Box::new(move |world| {
                world.leave(Company::Unsent);
                change_and_get(world);
            }),
        ]
    });
}

#[test]
fn one_that_flies_alone_is_joined_by_nobody() {
    search(|| {
        vec![
            Box::new(|world| world.get(Company::Nobody, 1)),
            Box::new(|world| {
                let floor = world.change();
                world.get(Company::Nobody, floor);
            }),
            Box::new(|world| world.get(Company::Any, 1)),
        ]
    });
}
