//! Shutdown: the first signal drains, the second aborts, and tracked tasks are waited for.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// When the process stops, and what it waits for. Cheap to clone; clones are the same shutdown.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Every tracked task has ended.
    Clean,
    /// The grace ran out, or a second signal came, before every task had ended.
    Forced,
}

impl Shutdown {
    /// A shutdown that nobody has asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets signals ask for it: the first SIGTERM or SIGINT drains, the next aborts.
    ///
    /// # Errors
    /// If the system refuses a signal handler.
    pub fn listen_to_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = self.clone();
        // Not tracked: it ends with the process, and nothing waits for it.
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if shutdown.is_draining() {
                    tracing::warn!(signal = name, "second signal: stopping at once");
                    shutdown.abort();
                    return;
                }
                tracing::info!(signal = name, "draining; a second signal stops at once");
                shutdown.drain();
            }
        });
        Ok(())
    }

    /// Asks for it.
    pub fn drain(&self) {
        self.drain.cancel();
    }

    /// Asks to end at once.
    pub fn abort(&self) {
        self.drain.cancel();
        self.abort.cancel();
    }

    /// True once it has been asked for.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until it is asked for.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits until an end at once is asked for.
    pub async fn aborted(&self) {
        self.abort.cancelled().await;
    }

    /// A token that is cancelled when it is asked for.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// A token that is cancelled when an end at once is asked for.
    #[must_use]
    pub fn abort_token(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Runs a task that [`Shutdown::finish`] waits for.
    pub fn spawn<F>(&self, task: F) -> tokio::task::JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tasks.spawn(task)
    }

    /// Waits for every tracked task, at most for `grace`, and not at all once an abort is asked for.
    pub async fn finish(&self, grace: Duration) -> Ending {
        self.tasks.close();
        tokio::select! {
            biased;
            () = self.tasks.wait() => Ending::Clean,
            () = self.abort.cancelled() => Ending::Forced,
            () = tokio::time::sleep(grace) => Ending::Forced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_its_tasks_but_not_for_ever() {
        let quick = Shutdown::new();
        quick.spawn(tokio::time::sleep(Duration::from_secs(1)));
        assert_eq!(quick.finish(Duration::from_secs(5)).await, Ending::Clean);

        let slow = Shutdown::new();
        slow.spawn(std::future::pending::<()>());
        assert_eq!(slow.finish(Duration::from_secs(5)).await, Ending::Forced);
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_does_not_wait() {
        let shutdown = Shutdown::new();
        shutdown.spawn(std::future::pending::<()>());
        shutdown.abort();
        let started = tokio::time::Instant::now();
        assert_eq!(shutdown.finish(Duration::from_secs(60)).await, Ending::Forced);
        assert_eq!(started.elapsed(), Duration::ZERO);
        assert!(shutdown.is_draining());
    }
}
