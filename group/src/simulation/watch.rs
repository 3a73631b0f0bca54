//! A value that others follow, as the runtime's own; but who waits is woken in the order of beginning to wait.
//!
//! The runtime's own spreads its waiters at random, which no seed can repeat.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Nobody will change the value any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

#[derive(Debug)]
struct Value<T> {
    value: T,
    changes: u64,
    closed: bool,
}

#[derive(Debug)]
struct Shared<T> {
    value: Mutex<Value<T>>,
    changed: Notify,
}

/// Changes the value.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Follows the value.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Receiver { shared: self.shared.clone(), seen: self.seen }
    }
}

/// A value with one who follows it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value that nobody follows yet.
    pub fn new(value: T) -> Self {
        let value = Mutex::new(Value { value, changes: 0, closed: false });
        Sender(Arc::new(Shared { value, changed: Notify::new() }))
    }

    /// Another one who follows it, from here on.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        Receiver { shared: self.0.clone(), seen: self.0.value.lock().changes }
    }

    /// Puts a value in place of the present one, which is answered.
    pub fn send_replace(&self, value: T) -> T {
        let mut present = self.0.value.lock();
        present.changes += 1;
        let former = std::mem::replace(&mut present.value, value);
        drop(present);
        self.0.changed.notify_waiters();
        former
    }

    /// Changes the value in place; those who follow hear of it if `change` says so.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool {
        let mut present = self.0.value.lock();
        let changed = change(&mut present.value);
        present.changes += u64::from(changed);
        drop(present);
        if changed {
            self.0.changed.notify_waiters();
        }
        changed
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.value.lock().closed = true;
        self.0.changed.notify_waiters();
    }
}

impl<T: Clone> Receiver<T> {
    /// The present value, which counts as seen.
    pub fn borrow_and_update(&mut self) -> T {
        let present = self.shared.value.lock();
        self.seen = present.changes;
        present.value.clone()
    }

    /// Waits for a value that was not seen yet.
    ///
    /// # Errors
    /// When none will come.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let seen = self.seen;
        self.until(|present| present.changes != seen).await.map(drop)
    }

    /// Waits for a value of which `is_it` is true.
    ///
    /// # Errors
    /// When none will come.
    pub async fn wait_for(&mut self, mut is_it: impl FnMut(&T) -> bool) -> Result<T, Closed> {
        self.until(|present| is_it(&present.value)).await
    }

    async fn until(&mut self, mut is_it: impl FnMut(&Value<T>) -> bool) -> Result<T, Closed> {
        let shared = self.shared.clone();
        loop {
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            {
                let present = shared.value.lock();
                if is_it(&present) {
                    self.seen = present.changes;
                    return Ok(present.value.clone());
                }
                if present.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}
