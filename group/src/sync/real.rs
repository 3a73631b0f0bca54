//! What ships: parking_lot's locks, the machine's atomics, tokio's tasks.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicUsize};

pub(crate) use parking_lot::{Mutex, MutexGuard};
pub(crate) use tokio::task::AbortHandle;

/// Runs a task by itself; what comes back can only stop it.
pub(crate) fn spawn<F>(task: F) -> AbortHandle
where
    F: Future<Output = ()> + Send + 'static,
{
    tokio::spawn(task).abort_handle()
}
