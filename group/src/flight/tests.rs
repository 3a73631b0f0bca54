//! Flights under a clock that stands still.

use std::future::pending;
use std::time::Duration;

use tokio::sync::Notify;

use super::*;
use crate::generation::{Bounds, Generations};

const HASH: u64 = 42;

struct Airport {
    flights: Arc<Flights<u32>>,
    generations: Generations,
    key: Key,
}

impl Airport {
    fn new(limit: usize) -> Self {
        let generations = Generations::new(Instant::now(), Bounds::default());
        Airport { flights: Arc::new(Flights::new(limit)), generations, key: Key::new("k", 9).unwrap() }
    }

    fn start(&self) -> Start {
        self.generations.start(HASH, Instant::now())
    }

    fn board<F>(&self, run: impl FnOnce(Pilot<u32>) -> F) -> Result<Boarded<u32>, Full>
    where
        F: Future<Output = u32> + Send + 'static,
    {
        self.flights.board(&self.key, HASH, self.start(), Company::Any, run)
    }

    /// Boards a flight that must be in the air already.
    fn join(&self) -> Waiter<u32> {
        let boarded = self.board(|_| async { unreachable!("joins, and runs nothing") }).unwrap();
        assert!(boarded.joined);
        boarded.waiter
    }

    async fn is_empty(&self) {
        while self.flights.running() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(self.flights.shards.iter().all(|shard| shard.0.lock().iter().all(HashMap::is_empty)));
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_share_one_run() {
    let airport = Airport::new(1);
    let first = airport.board(|_| async { 7 }).unwrap().waiter;
    let others: Vec<_> = (0..999).map(|_| airport.join()).collect();
    assert_eq!(first.wait(soon()).await, Ok(7));
    for other in others {
        assert_eq!(other.wait(soon()).await, Ok(7));
    }
    airport.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_takes_nobody_along() {
    let airport = Airport::new(1);
    let go = Arc::new(Notify::new());
    let gone = go.clone();
    let leader = airport
        .board(|_| async move {
            gone.notified().await;
            7
        })
        .unwrap()
        .waiter;
    let other = airport.join();
    assert_eq!(leader.wait(Instant::now()).await, Err(Lost::Deadline));
    go.notify_one();
    assert_eq!(other.wait(soon()).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn the_last_waiter_out_stops_a_flight_that_was_not_sent() {
    let airport = Airport::new(1);
    drop(airport.board(|_| pending()).unwrap().waiter);
    airport.is_empty().await;
    let next = airport.board(|_| async { 8 }).unwrap();
    assert!(!next.joined);
    assert_eq!(next.waiter.wait(soon()).await, Ok(8));
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_was_sent_runs_on_and_can_still_be_joined() {
    let airport = Airport::new(1);
    let (sent, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (sent_too, go_too) = (sent.clone(), go.clone());
    let leader = airport
        .board(|pilot| async move {
            assert!(pilot.send(true));
            sent_too.notify_one();
            go_too.notified().await;
            7
        })
        .unwrap()
        .waiter;
    sent.notified().await;
    drop(leader);
    let late = airport.join();
    go.notify_one();
    assert_eq!(late.wait(soon()).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_sent_only_for_who_waits_is_stopped_with_the_last_of_them() {
    let airport = Airport::new(1);
    let sent = Arc::new(Notify::new());
    let told = sent.clone();
    let run = |pilot: Pilot<u32>| async move {
        assert!(pilot.send(false));
        told.notify_one();
        pending().await
    };
    let leader = airport.board(run).unwrap().waiter;
    let other = airport.join();
    sent.notified().await;
    drop(leader);
    tokio::task::yield_now().await;
    assert_eq!(airport.flights.running(), 1, "somebody waits still");
    drop(other);
    airport.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_nobody_waits_for_is_told_not_to_send() {
    let airport = Airport::new(1);
    let mut boarded = None;
    let waiter = airport
        .board(|pilot| {
            boarded = Some(pilot);
            pending()
        })
        .unwrap()
        .waiter;
    drop(waiter);
    assert!(!boarded.unwrap().send(true));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_told_to_all_and_frees_the_key() {
    let airport = Airport::new(1);
    let first = airport.board(|_| async { panic!("on purpose") }).unwrap().waiter;
    let other = airport.join();
    assert_eq!(first.wait(soon()).await, Err(Lost::Flight));
    assert_eq!(other.wait(soon()).await, Err(Lost::Flight));
    airport.is_empty().await;
    assert_eq!(airport.board(|_| async { 9 }).unwrap().waiter.wait(soon()).await, Ok(9));
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_a_purge_boards_another_flight() {
    let airport = Airport::new(2);
    let go = Arc::new(Notify::new());
    let went = go.clone();
    let before = airport
        .board(|_| async move {
            went.notified().await;
            1
        })
        .unwrap()
        .waiter;
    // The generation alone keeps them apart, should the table not have been told yet.
    airport.generations.purge(HASH, Instant::now(), Bounds::default(), || ());
    let after = airport.board(|_| async { 2 }).unwrap();
    assert!(!after.joined);
    assert_eq!(after.waiter.wait(soon()).await, Ok(2));
    go.notify_one();
    assert_eq!(before.wait(soon()).await, Ok(1));
    airport.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_flight_is_not_joined_and_its_end_leaves_its_successor_alone() {
    let airport = Airport::new(2);
    let go = Arc::new(Notify::new());
    let went = go.clone();
    let before = airport
        .board(|_| async move {
            went.notified().await;
            1
        })
        .unwrap()
        .waiter;
    airport.flights.forget(&airport.key, HASH);
    let after = airport.board(|_| pending()).unwrap();
    assert!(!after.joined);
    go.notify_one();
    assert_eq!(before.wait(soon()).await, Ok(1));
    drop(airport.join());
    drop(after);
    airport.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn one_that_flies_alone_neither_joins_nor_is_joined() {
    let airport = Airport::new(3);
    let solo = |n: u32| {
        airport
            .flights
            .board(&airport.key, HASH, airport.start(), Company::Nobody, move |_| async move { n })
            .unwrap()
    };
    let shared = airport.board(|_| async { 1 }).unwrap();
    let (a, b) = (solo(2), solo(3));
    assert!(!shared.joined && !a.joined && !b.joined);
    assert_eq!(a.waiter.wait(soon()).await, Ok(2));
    assert_eq!(b.waiter.wait(soon()).await, Ok(3));
    assert_eq!(shared.waiter.wait(soon()).await, Ok(1));
    airport.is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_no_flight_starts() {
    let airport = Airport::new(1);
    let first = airport.board(|_| pending()).unwrap();
    airport.flights.forget_all();
    assert!(matches!(airport.board(|_| pending()), Err(Full)));
    drop(first);
    airport.is_empty().await;
    assert!(airport.board(|_| pending()).is_ok());
}

/// Boards a flight as one who may not serve copies. It says when its load is sent, and lands when it is told to.
fn passing_through(airport: &Airport, finish: bool) -> (Boarded<u32>, Arc<Notify>, Arc<Notify>) {
    let (sent, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tells, went) = (sent.clone(), go.clone());
    let run = |pilot: Pilot<u32>| async move {
        pilot.after_the_one_before().await;
        assert!(pilot.send(finish));
        tells.notify_one();
        went.notified().await;
        1
    };
    let boarded = airport.flights.board(&airport.key, HASH, airport.start(), Company::Unsent, run).unwrap();
    (boarded, sent, go)
}

#[tokio::test(start_paused = true)]
async fn who_may_not_serve_copies_joins_no_load_that_was_sent_whether_it_finishes_or_not() {
    for finish in [true, false] {
        let airport = Airport::new(2);
        let (first, sent, go) = passing_through(&airport, finish);
        let (joins, ..) = passing_through(&airport, finish);
        assert!(joins.joined, "it was not sent yet");
        sent.notified().await;
        let (next, _, go_next) = passing_through(&airport, finish);
        assert!(!next.joined, "it was sent before this one's call; finishes: {finish}");
        go.notify_one();
        assert_eq!(first.waiter.wait(soon()).await, Ok(1));
        assert_eq!(joins.waiter.wait(soon()).await, Ok(1));
        go_next.notify_one();
        assert_eq!(next.waiter.wait(soon()).await, Ok(1));
        airport.is_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_given_up_in_the_queue_lets_nobody_past_the_one_under_way() {
    for finish in [true, false] {
        let airport = Airport::new(3);
        let (first, sent, go) = passing_through(&airport, finish);
        sent.notified().await;
        let (impatient, ..) = passing_through(&airport, finish);
        tokio::task::yield_now().await;
        assert_eq!(impatient.waiter.wait(Instant::now()).await, Err(Lost::Deadline));
        let (next, sent_next, go_next) = passing_through(&airport, finish);
        assert!(!next.joined);
        let early = timeout_at(Instant::now() + Duration::from_millis(10), sent_next.notified()).await;
        assert!(early.is_err(), "two loads at a time");
        go.notify_one();
        assert_eq!(first.waiter.wait(soon()).await, Ok(1));
        go_next.notify_one();
        assert_eq!(next.waiter.wait(soon()).await, Ok(1));
        airport.is_empty().await;
    }
}

#[tokio::test(start_paused = true)]
async fn grants_that_come_and_go_hide_no_load_that_is_under_way() {
    let airport = Airport::new(3);
    let go = Arc::new(Notify::new());
    let went = go.clone();
    let shared = airport
        .board(|_| async move {
            went.notified().await;
            7
        })
        .unwrap()
        .waiter;
    let (passing, sent, go_on) = passing_through(&airport, true);
    assert!(!passing.joined);
    sent.notified().await;
    let joins = airport.join();
    go.notify_one();
    assert_eq!(shared.wait(soon()).await, Ok(7));
    assert_eq!(joins.wait(soon()).await, Ok(7));
    go_on.notify_one();
    assert_eq!(passing.waiter.wait(soon()).await, Ok(1));
    airport.is_empty().await;
}
