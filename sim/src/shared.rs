//! What all nodes of a run share because it is outside of them: time, the network, the source, the judges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use groupcache_group::value::Key;
use parking_lot::Mutex;

use crate::journal::Journal;
use crate::judge::Judge;
use crate::network::Network;
use crate::plan::{MOST_NODES, Plan};
use crate::truth::Truth;

/// The world around the nodes. No lock of it is held over a wait, nor while another is taken, but for the journal's, which is innermost.
#[derive(Debug)]
pub struct Shared {
    /// What the seed decided.
    pub plan: Plan,
    /// The keys that are asked for.
    pub keys: Arc<[Key]>,
    now: AtomicU64,
    /// When each node last went on after it had been stopped.
    woke: [AtomicU64; MOST_NODES],
    /// What lies between the nodes.
    pub network: Mutex<Network>,
    /// The source of truth.
    pub truth: Mutex<Truth>,
    /// Who looks on.
    pub judge: Mutex<Judge>,
    journal: Mutex<Journal>,
}

impl Shared {
    /// A world at its beginning.
    #[must_use]
    pub fn new(plan: Plan, keep_journal: bool) -> Arc<Self> {
        let keys = plan.all_keys();
        Arc::new(Shared {
            now: AtomicU64::new(0),
            woke: Default::default(),
            network: Mutex::new(Network::new(&plan)),
            truth: Mutex::new(Truth::new(&plan)),
            judge: Mutex::new(Judge::new(&plan)),
            journal: Mutex::new(Journal::new(keep_journal)),
            keys,
            plan,
        })
    }

    /// The world's time in milliseconds. No node knows it.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// A millisecond passes.
    pub fn pass(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// When a node last went on after it had been stopped: what was called before could not be answered in time.
    #[must_use]
    pub fn woke(&self, node: usize) -> u64 {
        self.woke[node].load(Ordering::Relaxed)
    }

    /// A node goes on.
    pub fn wakes(&self, node: usize) {
        self.woke[node].store(self.now(), Ordering::Relaxed);
    }

    /// Something happened at a node.
    pub fn note(&self, what: &'static str, node: usize, one: u64, other: u64) {
        self.journal.lock().note(self.now(), what, node, one, other);
    }

    /// The journal.
    pub fn journal(&self) -> parking_lot::MutexGuard<'_, Journal> {
        self.journal.lock()
    }

    /// A key's place among the keys.
    #[must_use]
    pub fn place_of(&self, key: &Key) -> usize {
        self.keys.iter().position(|one| one == key).unwrap_or(0)
    }
}

/// The name of a node in memberships.
#[must_use]
pub fn name(node: usize) -> String {
    format!("n{node}")
}

/// The node of that name.
#[must_use]
pub fn node_of(name: &str) -> usize {
    name[1..].parse().unwrap_or(0)
}
