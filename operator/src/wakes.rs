//! Clusters that are to be looked at, each once however many ask, and none so often that its look never comes.
//!
//! The controller waits until a cluster has been quiet for a moment before it looks. Nodes that tell something new all the time would put that
//! off for good; what this hands out leaves a gap between two wakes of one cluster that is wider than the moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::names::Key;

/// Between two wakes of one cluster; more than the controller's moment, [`crate::operator::DEBOUNCE`].
pub const GAP: Duration = Duration::from_millis(300);

/// The clusters that wait to be handed out. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Held for a look or a change, never across a wait.
    state: Mutex<State>,
    asked: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashSet<Key>,
    /// When a cluster that was handed out lately may be handed out again.
    rests_until: HashMap<Key, Instant>,
}

impl Wakes {
    /// Nothing waits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// This cluster is to be looked at. Nothing is lost, whoever reads or does not.
    pub fn wake(&self, key: &Key) {
        self.shared.state.lock().waiting.insert(key.clone());
        self.shared.asked.notify_one();
    }

    /// The next cluster to look at. Meant for one reader; may be dropped at any time.
    pub async fn next(&self) -> Key {
        loop {
            let soonest = match self.shared.state.lock().take(Instant::now()) {
                Ok(key) => return key,
                Err(soonest) => soonest,
            };
            let asked = self.shared.asked.notified();
            match soonest {
                None => asked.await,
                Some(soonest) => tokio::select! {
                    () = asked => {}
                    () = sleep_until(soonest) => {}
                },
            }
        }
    }
}

impl State {
    /// One that waits and does not rest; or when the first that rests has rested, if any waits.
    fn take(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        self.rests_until.retain(|_, until| *until > now);
        let ready = self.waiting.iter().find(|key| !self.rests_until.contains_key(*key)).cloned();
        let Some(key) = ready else {
            return Err(self.waiting.iter().filter_map(|key| self.rests_until.get(key)).min().copied());
        };
        self.waiting.remove(&key);
        self.rests_until.insert(key.clone(), now + GAP);
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_wakes_of_one_cluster_are_one_and_those_of_others_are_not_held_up() {
        let (wakes, a, b) = (Wakes::new(), Key::new("a"), Key::new("b"));
        (0..5000).for_each(|_| wakes.wake(&a));
        wakes.wake(&b);
        let began = Instant::now();
        let mut first = [wakes.next().await, wakes.next().await];
        first.sort_by(|x, y| x.name.cmp(&y.name));
        assert_eq!((first, began.elapsed()), ([a, b], Duration::ZERO));
        assert!(timeout(GAP * 10, wakes.next()).await.is_err(), "nothing is left");
    }

    #[tokio::test(start_paused = true)]
    async fn between_two_wakes_of_one_cluster_there_is_a_gap_that_the_controller_looks_in() {
        assert!(GAP > crate::operator::DEBOUNCE);
        let (wakes, key) = (Wakes::new(), Key::new("a"));
        let began = Instant::now();
        for round in 0..4 {
            wakes.wake(&key);
            assert_eq!(wakes.next().await, key);
            assert_eq!(began.elapsed(), GAP * round);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_while_its_reader_waits_is_handed_out_at_once() {
        let (wakes, key) = (Wakes::new(), Key::new("a"));
        let (handed, ()) = tokio::join!(timeout(GAP, wakes.next()), async { wakes.wake(&key) });
        assert_eq!(handed, Ok(key));
    }
}
