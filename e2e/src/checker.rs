//! The checker: whether a Remove that succeeded holds.
//!
//! Writers change the source, call Remove and raise a floor; readers at every node watch it.
//!
//! A reader notes the key's floor, calls Get, and whatever comes back must not be below it: the floor is the counter that the source had when a Remove that
//! has already succeeded was called. Counters only rise, so one comparison a read is all it takes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::caller::{Address, Caller};
use crate::counting::CountingSource;
use crate::scenario::grouped;

/// Time for a Get.
const GET: Duration = Duration::from_secs(2);
/// Time for a Remove: enough to wait for a node that cannot be reached.
const REMOVE: Duration = Duration::from_secs(10);
/// A caller whose node is away tries again after so long.
const PAUSE: Duration = Duration::from_millis(20);

/// What is read and removed.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Keys; few, so that they are contended.
    pub keys: usize,
    /// Removers of each key.
    pub removers: usize,
    /// Readers at each node.
    pub readers: usize,
}

/// A check on its way.
#[derive(Debug)]
pub struct Check {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    began: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    floors: Vec<AtomicU64>,
    reads: AtomicU64,
    failed_reads: AtomicU64,
    removes: AtomicU64,
    failed_removes: AtomicU64,
    stale: AtomicU64,
    longest_remove_ms: AtomicU64,
    /// The first violations, in words.
    told: Mutex<Vec<String>>,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Reads that were answered.
    pub reads: u64,
    /// Reads that were not: their node was away.
    pub failed_reads: u64,
    /// Removes that succeeded.
    pub removes: u64,
    /// Removes that failed, or whose node was away.
    pub failed_removes: u64,
    /// Reads below their floor.
    pub stale: u64,
    /// The longest Remove.
    pub longest_remove: Duration,
    /// The first violations, in words.
    pub told: Vec<String>,
    /// How long it ran.
    pub took: Duration,
}

impl Check {
    /// Begins: readers and removers at every node of `nodes`, for keys of the group `group`.
    #[must_use]
    pub fn begin<A>(source: &CountingSource, nodes: &[A], group: &str, load: Load) -> Self
    where
        A: Into<Address> + Clone,
    {
        let nodes: Vec<Address> = nodes.iter().cloned().map(Into::into).collect();
        let floors = (0..load.keys).map(|_| AtomicU64::new(0)).collect();
        let shared = Arc::new(Shared { floors, ..Shared::default() });
        let mut threads = Vec::new();
        for key in 0..load.keys {
            for remover in 0..load.removers {
                let (shared, source, group) = (Arc::clone(&shared), source.clone(), group.to_owned());
                let nodes = nodes.clone();
                threads.push(thread::spawn(move || {
                    shared.remove(&source, &nodes, &group, key, key + remover);
                }));
            }
        }
        for (node, address) in nodes.iter().enumerate() {
            for reader in 0..load.readers {
                let (shared, group, address) = (Arc::clone(&shared), group.to_owned(), address.clone());
                threads.push(thread::spawn(move || shared.read(&address, &group, node + reader * 7)));
            }
        }
        Self { shared, threads, began: Instant::now() }
    }

    /// Removes that have succeeded so far.
    #[must_use]
    pub fn removes(&self) -> u64 {
        self.shared.removes.load(Ordering::Relaxed)
    }

    /// Ends it.
    #[must_use]
    pub fn end(self) -> Verdict {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().ok();
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Verdict {
            reads: read(&self.shared.reads),
            failed_reads: read(&self.shared.failed_reads),
            removes: read(&self.shared.removes),
            failed_removes: read(&self.shared.failed_removes),
            stale: read(&self.shared.stale),
            longest_remove: Duration::from_millis(read(&self.shared.longest_remove_ms)),
            told: self.shared.told.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            took: self.began.elapsed(),
        }
    }
}

impl Shared {
    fn remove(&self, source: &CountingSource, nodes: &[Address], group: &str, key: usize, seed: usize) {
        let mut callers: Vec<Caller> = nodes.iter().cloned().map(Caller::of).collect();
        // It stays with its node as long as that one answers: of a key's removers one is always at a node that lives.
        let (name, mut at) = (format!("key-{key}"), seed % nodes.len());
        while !self.over.load(Ordering::Relaxed) {
            let counter = source.bump(&name);
            let began = Instant::now();
            let answer = callers[at].call("DELETE", &format!("/v1/groups/{group}/keys/{name}"), REMOVE);
            if matches!(answer, Ok((204, _))) {
                self.floors[key].fetch_max(counter, Ordering::SeqCst);
                self.removes.fetch_add(1, Ordering::Relaxed);
                let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.longest_remove_ms.fetch_max(took, Ordering::Relaxed);
            } else {
                self.failed_removes.fetch_add(1, Ordering::Relaxed);
                at = (at + 1) % callers.len();
                thread::sleep(PAUSE);
            }
        }
    }

    fn read(&self, node: &Address, group: &str, seed: usize) {
        let mut caller = Caller::of(node.clone());
        let mut at = seed;
        while !self.over.load(Ordering::Relaxed) {
            at = (at * 31 + 17) % 10_007;
            let key = at % self.floors.len();
            let floor = self.floors[key].load(Ordering::SeqCst);
            let answer = caller.call("GET", &format!("/v1/groups/{group}/keys/key-{key}"), GET);
            match answer {
                Ok((200, body)) => self.judge(node, key, floor, &body),
                _ => {
                    self.failed_reads.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(PAUSE);
                }
            }
        }
    }

    fn judge(&self, node: &Address, key: usize, floor: u64, body: &str) {
        self.reads.fetch_add(1, Ordering::Relaxed);
        if body.parse::<u64>().is_ok_and(|value| value >= floor) {
            return;
        }
        self.stale.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < 10 {
            let node = node.now();
            told.push(format!("{node} answered {body:?} for key-{key} whose floor was {floor}"));
        }
    }
}

impl Verdict {
    /// Refuses a check in which a Remove did not hold, or in which nothing was checked.
    ///
    /// # Errors
    /// With the first violations.
    pub fn demand_none_stale(&self) -> Result<()> {
        ensure!(self.stale == 0, "{}: {:#?}", self.words(), self.told);
        ensure!(self.removes > 0 && self.reads > 0, "nothing was checked: {}", self.words());
        Ok(())
    }

    /// Its figures in words.
    #[must_use]
    pub fn words(&self) -> String {
        let rate = self.removes as f64 / self.took.as_secs_f64();
        format!(
            "{} Removes succeeded ({rate:.0}/s, longest {} ms), {} did not; {} reads checked, {} unanswered; {} stale",
            grouped(self.removes),
            self.longest_remove.as_millis(),
            grouped(self.failed_removes),
            grouped(self.reads),
            grouped(self.failed_reads),
            self.stale
        )
    }
}
