//! Readers of warm keys that note how many Gets ended when, which failed, and how long the longest took.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::caller::Caller;

/// Gets are counted in slices of time as long as this.
pub const SLICE: Duration = Duration::from_millis(100);
/// No run has more slices.
const SLICES: usize = 6_000;
/// What a Get may take.
const TIME: Duration = Duration::from_secs(2);

/// Readers at work.
#[derive(Debug)]
pub struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    over: AtomicBool,
    slices: Vec<AtomicU64>,
    longest_us: AtomicU64,
    /// Why Gets failed: the first of them.
    failures: Mutex<Vec<String>>,
}

impl Readers {
    /// So many readers at these nodes, in turn, of the keys `0..keys` of a group.
    #[must_use]
    pub fn begin(nodes: &[SocketAddr], readers: usize, group: &str, keys: usize) -> Self {
        let shared = Arc::new(Shared {
            began: Instant::now(),
            over: AtomicBool::new(false),
            slices: (0..SLICES).map(|_| AtomicU64::new(0)).collect(),
            longest_us: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let threads = (0..readers)
            .map(|reader| {
                let (shared, group) = (Arc::clone(&shared), group.to_owned());
                let node = nodes[reader % nodes.len()];
                thread::spawn(move || shared.read(node, &group, keys, reader))
            })
            .collect();
        Self { shared, threads }
    }

    /// The slice of now.
    #[must_use]
    pub fn slice(&self) -> usize {
        slice_of(self.shared.began)
    }

    /// Gets that were answered in these slices, in one slice on average.
    #[must_use]
    pub fn in_slices(&self, from: usize, to: usize) -> f64 {
        let sum: u64 = self.shared.slices[from..to].iter().map(|slice| slice.load(Ordering::Relaxed)).sum();
        sum as f64 / (to - from).max(1) as f64
    }

    /// The longest Get since the last time this was asked.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.shared.longest_us.swap(0, Ordering::Relaxed))
    }

    /// Gets so far.
    #[must_use]
    pub fn gets(&self) -> u64 {
        self.shared.slices.iter().map(|slice| slice.load(Ordering::Relaxed)).sum()
    }

    /// Ends them; answers what failed.
    #[must_use]
    pub fn end(self) -> Vec<String> {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok();
        }
        self.shared.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shared {
    fn read(&self, node: SocketAddr, group: &str, keys: usize, seed: usize) {
        let mut caller = Caller::of(node);
        let mut at = seed;
        while !self.over.load(Ordering::Relaxed) {
            at = (at * 31 + 17) % 1_000_003;
            let key = at % keys;
            let began = Instant::now();
            let answer = caller.call("GET", &format!("/v1/groups/{group}/keys/key-{key}"), TIME);
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            match answer {
                Ok((200, _)) => {
                    self.slices[slice_of(self.began)].fetch_add(1, Ordering::Relaxed);
                    self.longest_us.fetch_max(took, Ordering::Relaxed);
                }
                other => {
                    let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                    failures.push(format!("key-{key} at {node}: {other:?}"));
                }
            }
        }
    }
}

fn slice_of(began: Instant) -> usize {
    let slice = began.elapsed().as_millis() / SLICE.as_millis();
    usize::try_from(slice).unwrap_or(SLICES).min(SLICES - 1)
}

/// Asks for each of the keys `0..keys` once at every node, twice over: afterwards they are warm, and hot where another node owns them.
///
/// # Errors
/// When a node does not answer.
pub fn warm(nodes: &[SocketAddr], group: &str, keys: usize) -> anyhow::Result<()> {
    ask(nodes, group, |_| (0..keys).chain(0..keys).collect())
}

/// Asks for each of the keys `0..keys` once, at the nodes in turn: afterwards its owner has it.
///
/// # Errors
/// When a node does not answer.
pub fn fill(nodes: &[SocketAddr], group: &str, keys: usize) -> anyhow::Result<()> {
    ask(nodes, group, |node| (node..keys).step_by(nodes.len()).collect())
}

/// Asks each node, all at once, for the keys that are its part.
fn ask(nodes: &[SocketAddr], group: &str, part: impl Fn(usize) -> Vec<usize>) -> anyhow::Result<()> {
    let threads: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(index, node)| {
            let (node, group, keys) = (*node, group.to_owned(), part(index));
            thread::spawn(move || -> anyhow::Result<()> {
                let mut caller = Caller::of(node);
                for key in keys {
                    let (status, body) =
                        caller.call("GET", &format!("/v1/groups/{group}/keys/key-{key}"), TIME)?;
                    anyhow::ensure!(status == 200, "key-{key} at {node}: {status} {body}");
                }
                Ok(())
            })
        })
        .collect();
    for thread in threads {
        thread.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
    }
    Ok(())
}
