//! A node's way to the source of truth, judged as far as can be seen from outside of the node.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader};
use groupcache_sim::shared::Shared;
use groupcache_sim::truth::{Course, Run};
use tokio::time::sleep;

/// One node's way to the source. Which peers asked for a load, and whom the node could not reach, only `groupcache-sim` sees.
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
        let run = Run { id: 0, node: self.node, started: now, flying: None };
        let (run, counter, others, course) = self.shared.truth.lock().start(key, run);
        self.shared.note("loads", self.node, key as u64, counter);
        self.shared.judge.lock().load_starts(now, key, &run, &others);
        (Running { shared: Arc::clone(&self.shared), key, id: run.id }, counter, course)
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
            let (running, counter, course) = self.start(self.shared.place_of(&request.key));
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
