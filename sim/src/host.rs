//! A machine: a process in a runtime of its own, which can crash, freeze, sleep, and be given another pod.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use groupcache_group::clock::Clock;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::node::{Disk, Node};
use crate::shared::Shared;

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// It runs.
    Running,
    /// The process is stopped while its clocks go on; so many milliseconds by now.
    Stopped(u64),
    /// The machine sleeps: only the boot-time clock goes on.
    Asleep(u64),
    /// No process.
    Down,
}

/// One place where a node can be.
pub struct Host {
    /// Which.
    pub place: usize,
    /// What it is doing.
    pub doing: Doing,
    /// Counts pods.
    pub pod: u64,
    /// The pod's disk.
    pub disk: Disk,
    runtime: Option<Runtime>,
    node: Option<Arc<Node>>,
    /// Milliseconds by which its clock is ahead of all others.
    skew: u64,
    /// By how many millionths its clock is fast.
    fast: u64,
    slept: Arc<AtomicU64>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("place", &self.place).field("doing", &self.doing).finish_non_exhaustive()
    }
}

impl Host {
    /// A machine without a process. Its clock is ahead by `skew` milliseconds, and `fast` by so many millionths.
    #[must_use]
    pub fn new(place: usize, skew: u64, fast: u64) -> Self {
        Host {
            place,
            doing: Doing::Down,
            pod: 0,
            disk: Disk::default(),
            runtime: None,
            node: None,
            skew,
            fast,
            slept: Arc::default(),
        }
    }

    /// Another pod, whose disk is empty.
    pub fn new_pod(&mut self) {
        self.pod += 1;
        self.disk = Disk::default();
    }

    /// The pod's uid.
    #[must_use]
    pub fn uid(&self) -> String {
        format!("{}-{}", self.place, self.pod)
    }

    /// The process that runs here, if one does; also while it is stopped.
    #[must_use]
    pub fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// A process begins.
    ///
    /// # Panics
    /// If the machine that the simulation runs on gives no runtime.
    pub fn start(&mut self, shared: &Arc<Shared>) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without input and output needs nothing");
        let entered = runtime.enter();
        let (base, skew, fast, slept) = (Instant::now(), self.skew, self.fast, self.slept.clone());
        let clock = Clock::new(move || {
            let now = Instant::now();
            let gained = u64::try_from((now - base).as_nanos()).unwrap_or(0) / 1_000_000 * fast;
            let ahead = Duration::from_millis(skew + slept.load(Ordering::Relaxed));
            now + ahead + Duration::from_nanos(gained)
        });
        let node = Node::begin(shared, self.place, self.uid(), clock, self.disk.clone());
        drop(entered);
        self.runtime = Some(runtime);
        self.node = Some(node);
        self.doing = Doing::Running;
    }

    /// The process is gone, with everything it was doing.
    pub fn crash(&mut self) {
        self.node = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
        self.doing = Doing::Down;
    }

    /// A millisecond passes.
    pub fn tick(&mut self) {
        match &mut self.doing {
            Doing::Down => {}
            Doing::Stopped(passed) | Doing::Asleep(passed) => *passed += 1,
            Doing::Running => self.run(1, false),
        }
    }

    /// It goes on where it was: stopped processes find that their clocks have moved, sleepers only that the boot-time clock has.
    pub fn wake(&mut self) {
        match std::mem::replace(&mut self.doing, Doing::Running) {
            Doing::Stopped(passed) => self.run(passed, true),
            Doing::Asleep(passed) => {
                self.slept.fetch_add(passed, Ordering::Relaxed);
            }
            other => self.doing = other,
        }
    }

    fn run(&self, passed: u64, at_once: bool) {
        let passed = Duration::from_millis(passed);
        if let Some(runtime) = &self.runtime {
            runtime.block_on(async {
                if at_once {
                    tokio::time::advance(passed).await;
                } else {
                    tokio::time::sleep(passed).await;
                }
            });
        }
    }

    /// Does something inside the process's runtime.
    pub fn inside<R>(&self, act: impl FnOnce(&Arc<Node>) -> R) -> Option<R> {
        let (runtime, node) = (self.runtime.as_ref()?, self.node.as_ref()?);
        let _entered = runtime.enter();
        Some(act(node))
    }

    /// Tasks in the process.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}
