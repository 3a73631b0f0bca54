//! The checker, on real threads: readers at every node must never see what a writer removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant as Clock};

use groupcache_group::group::Settings;
use groupcache_group::stats::Stats;
use groupcache_group::value::Key;

use crate::network::{Cluster, key, settings};
use crate::shake::shake;
use crate::source::{Mood, counter};

const NODES: usize = 3;
const KEYS: usize = 48;
const WRITERS: usize = 2;
const READERS: usize = 8;
/// Most keys of one GetMany, and of one call of the loader.
const MANY: usize = 4;
const RUN: Duration = Duration::from_secs(3);

struct Run {
    cluster: Cluster,
    keys: Vec<Key>,
    /// What the last Remove that succeeded promises.
    floors: Vec<AtomicU64>,
    over: AtomicBool,
    removes: AtomicU64,
    failed_removes: AtomicU64,
    reads: AtomicU64,
    failed_reads: AtomicU64,
    stale: AtomicU64,
}

async fn write(run: Arc<Run>) {
    while !run.over.load(Ordering::Relaxed) {
        let at = rand::random_range(0..KEYS);
        let counter = run.cluster.source.bump(&run.keys[at]);
        match run.cluster.remove(rand::random_range(0..NODES), &run.keys[at]).await {
            Ok(()) => {
                run.floors[at].fetch_max(counter, Ordering::SeqCst);
                run.removes.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                run.failed_removes.fetch_add(1, Ordering::Relaxed);
            }
        }
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..3))).await;
    }
}

async fn read(run: Arc<Run>) {
    while !run.over.load(Ordering::Relaxed) {
        // Some keys are read far more often than others.
        let at = rand::random_range(0..KEYS).min(rand::random_range(0..KEYS));
        // One key, or several with their neighbours.
        let range = at..(at + rand::random_range(1..=MANY)).min(KEYS);
        let floors: Vec<_> =
            run.floors[range.clone()].iter().map(|floor| floor.load(Ordering::SeqCst)).collect();
        let node = rand::random_range(0..NODES);
        let answers = if range.len() == 1 {
            vec![run.cluster.get(node, &run.keys[at]).await]
        } else {
            run.cluster.get_many(node, &run.keys[range]).await
        };
        for (answer, floor) in answers.into_iter().zip(floors) {
            run.reads.fetch_add(1, Ordering::Relaxed);
            match answer {
                Ok(answer) if counter(&answer) < floor => drop(run.stale.fetch_add(1, Ordering::Relaxed)),
                Ok(_) => {}
                Err(_) => drop(run.failed_reads.fetch_add(1, Ordering::Relaxed)),
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Short windows, so that hot copies are kept and dropped many times.
fn short_windows() -> Settings {
    Settings { purge_timeout: Duration::from_millis(25), ..settings() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reader_ever_sees_what_was_removed() {
    let run = check(short_windows(), Mood::Answers).await;
    assert_eq!(run.failed_reads.load(Ordering::Relaxed), 0);
    let hot = run.sum(|s| s.hot_hits);
    assert!(hot > 100, "{hot} hot hits");
}

/// Stale values, refreshes ahead of time, and a loader that fails every third time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nor_while_stale_values_are_served_and_refreshed() {
    let ms = Duration::from_millis;
    let settings = Settings {
        ttl: Some(ms(20)),
        stale_while_revalidate: ms(20),
        stale_if_error: ms(500),
        early_refresh_percent: 30,
        ..short_windows()
    };
    let run = check(settings, Mood::Flaky).await;
    let (stale, covered) = (run.sum(|s| s.stale_hits), run.sum(|s| s.stale_on_error));
    let (refreshes, failures) = (run.sum(|s| s.refreshes), run.sum(|s| s.refresh_failures));
    println!(
        "{stale} stale hits, {covered} failures covered, {refreshes} refreshes, {failures} of them failed"
    );
    assert!(stale > 100 && covered > 10 && refreshes > 50 && failures > 10, "there was little to get wrong");
}

/// Runs readers and writers, and judges.
async fn check(settings: Settings, mood: Mood) -> Arc<Run> {
    let cluster = Cluster::just_born_with(NODES, &settings, Duration::from_millis(300));
    cluster.serving().await;
    cluster.source.takes(MANY);
    cluster.network.shaky.store(true, Ordering::Relaxed);
    cluster.source.shaky.store(true, Ordering::Relaxed);
    cluster.source.set(mood);
    let run = Arc::new(Run {
        cluster,
        keys: (0..KEYS).map(|n| key(&format!("key-{n}"))).collect(),
        floors: (0..KEYS).map(|_| AtomicU64::new(0)).collect(),
        over: AtomicBool::new(false),
        removes: AtomicU64::new(0),
        failed_removes: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        failed_reads: AtomicU64::new(0),
        stale: AtomicU64::new(0),
    });
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(write(run.clone()))).collect();
    let readers: Vec<_> = (0..READERS).map(|_| tokio::spawn(read(run.clone()))).collect();
    let begun = Clock::now();
    while begun.elapsed() < RUN {
        shake().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    run.over.store(true, Ordering::Relaxed);
    for task in writers.into_iter().chain(readers) {
        task.await.unwrap();
    }
    judge(&run);
    run
}

fn judge(run: &Run) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let sum = |of| run.sum(of);
    let (removes, failed) = (read(&run.removes), read(&run.failed_removes));
    println!(
        "{} reads, {} stale; {removes} Removes, {failed} failed; {} loads; hits: {} main, {} hot; {} joined, {} fenced",
        read(&run.reads),
        read(&run.stale),
        run.cluster.source.loads(),
        sum(|s| s.main_hits),
        sum(|s| s.hot_hits),
        sum(|s| s.joined),
        sum(|s| s.fenced),
    );
    assert_eq!(read(&run.stale), 0);
    // The run must have been one in which there was something to get wrong.
    assert!(removes > 4 * failed && removes > 50, "{removes} Removes, {failed} failed");
    assert!(sum(|s| s.fenced) > 10 && sum(|s| s.joined) > 10);
}

impl Run {
    fn sum(&self, of: fn(&Stats) -> u64) -> u64 {
        (0..NODES).map(|at| of(&self.cluster.group(at).stats())).sum()
    }
}
