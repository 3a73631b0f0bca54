//! What outlives a process at one place: the pod, its disk, and what was last seen of the process.

use std::sync::Arc;

use groupcache_proto::cluster::SignedSnapshot;
use groupcache_ring::Version;
use parking_lot::Mutex;

/// What a process shows of itself, as of its last look at itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The version in force.
    pub version: Version,
    /// True if it is a member by that.
    pub member: bool,
    /// True if it may serve copies.
    pub serves: bool,
    /// Loads and fetches that run.
    pub flights: u64,
}

/// One place where a node can be.
#[derive(Debug)]
pub struct Machine {
    /// Which.
    pub place: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    pod: u64,
    disk: Option<SignedSnapshot>,
    started: u64,
    runs: bool,
    seen: Seen,
}

impl Machine {
    /// A machine without a process, with an empty disk.
    #[must_use]
    pub fn new(place: usize) -> Arc<Self> {
        Arc::new(Machine { place, state: Mutex::default() })
    }

    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> String {
        format!("{}-{}", self.place, self.state.lock().pod)
    }

    /// Another pod, whose disk is empty.
    pub fn new_pod(&self) {
        let mut state = self.state.lock();
        state.pod += 1;
        state.disk = None;
    }

    /// A process begins: its boot id, never 0, and what is on the disk.
    pub fn begins(&self) -> (u64, Option<SignedSnapshot>) {
        let mut state = self.state.lock();
        state.started += 1;
        state.runs = true;
        state.seen = Seen::default();
        (((self.place as u64 + 1) << 32) + state.started, state.disk.clone())
    }

    /// The process is gone.
    pub fn ends(&self) {
        self.state.lock().runs = false;
    }

    /// Keeps a snapshot on the disk.
    pub fn keep(&self, snapshot: SignedSnapshot) {
        self.state.lock().disk = Some(snapshot);
    }

    /// Shows what the process is like now.
    pub fn show(&self, seen: Seen) {
        self.state.lock().seen = seen;
    }

    /// What was last seen of the process; `None` if there is none.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        let state = self.state.lock();
        state.runs.then_some(state.seen)
    }

    /// Which process runs; `None` if none does.
    #[must_use]
    pub fn process(&self) -> Option<u64> {
        let state = self.state.lock();
        state.runs.then_some(state.started)
    }
}
