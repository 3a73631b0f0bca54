//! The checker, in virtual time: while keys move between nodes again and again, nobody ever sees what was removed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use groupcache_group::group::{Origin, Settings};
use groupcache_group::stats::Stats;
use groupcache_group::value::Key;
use groupcache_ring::{Member, State};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::network::{Cluster, Leg, key, member, settings};
use crate::shake::{below, seed};
use crate::source::counter;

const NODES: usize = 4;
const KEYS: usize = 300;
const WRITERS: usize = 8;
const READERS: usize = 6;
/// Changes of the ring in one run.
const CHANGES: u64 = 8;
/// A short window and a short bound, so that much is kept, moved and purged in little time.
const WINDOW: Duration = Duration::from_millis(25);
const BOUND: Duration = Duration::from_millis(300);

struct Run {
    cluster: RefCell<Cluster>,
    keys: Vec<Key>,
    /// What the last Remove that succeeded promises.
    floors: Vec<Cell<u64>>,
    over: Cell<bool>,
    removes: Cell<u64>,
    failed_removes: Cell<u64>,
    reads: Cell<u64>,
    stale: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

async fn write(run: Rc<Run>) {
    while !run.over.get() {
        let at = below(KEYS as u64) as usize;
        let bumped = run.cluster.borrow().source.bump(&run.keys[at]);
        let group = run.cluster.borrow().group(below(3) as usize);
        match group.remove(vec![run.keys[at].clone()], None, soon()).await {
            Ok(()) => {
                run.floors[at].set(run.floors[at].get().max(bumped));
                count(&run.removes);
            }
            Err(_) => count(&run.failed_removes),
        }
        tokio::time::sleep(Duration::from_millis(below(12))).await;
    }
}

async fn read(run: Rc<Run>) {
    while !run.over.get() {
        let at = below(KEYS as u64) as usize;
        let floor = run.floors[at].get();
        let group = run.cluster.borrow().group(below(NODES as u64) as usize);
        let answer = group.get(run.keys[at].clone(), Origin::Client, soon()).await.unwrap();
        if counter(&answer) < floor {
            count(&run.stale);
        }
        count(&run.reads);
        tokio::time::sleep(Duration::from_millis(below(3))).await;
    }
}

/// The last node comes, leaves, is gone, joins and comes again.
fn members(change: u64) -> Vec<Member> {
    let last = [Some(State::Draining), None, Some(State::Joining), Some(State::Active)][change as usize % 4];
    let others = (0..NODES - 1).map(|at| member(at, State::Active));
    others.chain(last.map(|state| member(NODES - 1, state))).collect()
}

async fn change(run: Rc<Run>) {
    for nth in 0..CHANGES {
        run.cluster.borrow_mut().adopt(2 + nth, members(nth));
        tokio::time::sleep(Duration::from_millis(300 + below(500))).await;
    }
    run.over.set(true);
}

async fn run_with(seed_number: u64) {
    seed(seed_number);
    let settings = Settings { purge_timeout: WINDOW, ..settings() };
    let cluster = Cluster::just_born_with(NODES, &settings, BOUND);
    cluster.serving().await;
    cluster.network.shaky.store(true, Ordering::Relaxed);
    // Purges come while values are on their way, at one node earlier than at another.
    cluster.network.slow(Leg::PeekReply, 40);
    cluster.network.slow(Leg::PeekManyReply, 40);
    cluster.network.slow(Leg::Purge, 15);
    cluster.source.shaky.store(true, Ordering::Relaxed);
    let run = Rc::new(Run {
        cluster: RefCell::new(cluster),
        keys: (0..KEYS).map(|n| key(&format!("key-{n}"))).collect(),
        floors: (0..KEYS).map(|_| Cell::new(0)).collect(),
        over: Cell::new(false),
        removes: Cell::new(0),
        failed_removes: Cell::new(0),
        reads: Cell::new(0),
        stale: Cell::new(0),
    });
    let tasks = LocalSet::new();
    for _ in 0..WRITERS {
        tasks.spawn_local(write(run.clone()));
    }
    for _ in 0..READERS {
        tasks.spawn_local(read(run.clone()));
    }
    tasks.spawn_local(change(run.clone()));
    tasks.await;
    judge(&run, seed_number);
}

fn judge(run: &Run, seed_number: u64) {
    let cluster = run.cluster.borrow();
    let sum = |of: fn(&Stats) -> u64| (0..NODES).map(|at| of(&cluster.group(at).stats())).sum::<u64>();
    let (removes, failed) = (run.removes.get(), run.failed_removes.get());
    println!(
        "seed {seed_number}: {} reads, {} stale; {removes} Removes, {failed} failed; {} loads; {} peeks found, {} taken over, {} fenced",
        run.reads.get(),
        run.stale.get(),
        cluster.source.loads(),
        sum(|s| s.peek_hits),
        sum(|s| s.taken_over),
        sum(|s| s.fenced),
    );
    assert_eq!(run.stale.get(), 0, "seed {seed_number}");
    // The run must have been one in which there was something to get wrong.
    assert!(removes > 4 * failed && removes > 500, "{removes} Removes, {failed} failed");
    assert!(sum(|s| s.peek_hits) > 10 && sum(|s| s.taken_over) > 50 && sum(|s| s.fenced) > 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_removed_comes_back_while_keys_move() {
    for seed_number in 1..=2 {
        run_with(seed_number).await;
    }
}
