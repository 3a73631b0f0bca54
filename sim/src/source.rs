//! A node's way to the source: a load answers the counter as it stood when it started, or fails, hangs or panics.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader};
use groupcache_group::simulation;
use tokio::time::sleep;

use crate::shared::Shared;
use crate::truth::{Course, Run};

/// One node's way to the source.
#[derive(Debug)]
pub struct Source {
    shared: Arc<Shared>,
    node: usize,
}

impl Source {
    /// As the node at that place calls it.
    #[must_use]
    pub fn new(shared: Arc<Shared>, node: usize) -> Self {
        Source { shared, node }
    }

    /// A load starts: its value is read now.
    fn start(&self, key: usize) -> (Running, u64, Course) {
        let now = self.shared.now();
        let run = Run { id: 0, node: self.node, started: now, flying: simulation::flying() };
        let (run, counter, others, course) = self.shared.truth.lock().start(key, run);
        self.shared.note("loads", self.node, key as u64, counter);
        let waited = run
            .flying
            .map_or(0, |flying| u64::try_from(flying.boarded.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut judge = self.shared.judge.lock();
        judge.load_starts(now, key, &run, &others);
        judge.load_has_a_reason(now, self.node, key, &self.shared.keys[key], waited);
        drop(judge);
        (Running { shared: self.shared.clone(), key, id: run.id }, counter, course)
    }
}

/// A load until it ends, however it does.
struct Running {
    shared: Arc<Shared>,
    key: usize,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.truth.lock().end(self.key, self.id);
    }
}

impl Loader for Source {
    fn name(&self) -> &str {
        "source"
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let key = self.shared.place_of(&request.key);
            let (running, counter, course) = self.start(key);
            let nap = |takes| sleep(Duration::from_millis(takes));
            match course {
                Course::Answers(takes) => nap(takes).await,
                Course::Fails(takes) => {
                    nap(takes).await;
                    return Err(LoadError::Failed { code: 14, message: "source: it is down".into() });
                }
                Course::Panics(takes) => {
                    nap(takes).await;
                    // Not `panic!`: the hook would print each of them.
                    std::panic::resume_unwind(Box::new("the source panics on purpose"));
                }
                Course::Hangs => std::future::pending().await,
            }
            drop(running);
            Ok(Loaded::value(counter.to_le_bytes().to_vec()))
        })
    }
}
