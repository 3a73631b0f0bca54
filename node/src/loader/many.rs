//! How many keys a loader may be asked for in one call, as far as it has been found out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Most keys of one call: one query of a database takes them easily, and keys of the largest size stay below what gRPC servers take at once (4 MiB).
pub(crate) const MOST_KEYS: usize = 256;

/// How long what was found out is believed: loaders are replaced, and the next one may do better.
const BELIEVED: Duration = Duration::from_secs(300);

/// What is known.
#[derive(Debug)]
pub(crate) struct Most(Mutex<Option<(usize, Instant)>>);

impl Most {
    /// Nothing yet: the best is hoped for.
    pub(crate) fn new() -> Self {
        Most(Mutex::new(None))
    }

    /// The keys one call may ask for.
    pub(crate) fn keys(&self) -> usize {
        let mut known = self.0.lock();
        if known.is_some_and(|(_, until)| until <= Instant::now()) {
            *known = None;
        }
        known.map_or(MOST_KEYS, |(keys, _)| keys)
    }

    /// The loader has no call for several keys.
    pub(crate) fn one(&self) {
        *self.0.lock() = Some((1, Instant::now() + BELIEVED));
    }

    /// The answer to so many keys was too large.
    pub(crate) fn fewer_than(&self, keys: usize) {
        let fewer = self.keys().min(keys / 2).max(1);
        *self.0.lock() = Some((fewer, Instant::now() + BELIEVED));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_a_loader_cannot_do_is_remembered_and_tried_again_later() {
        let most = Most::new();
        assert_eq!(most.keys(), MOST_KEYS);
        most.fewer_than(200);
        assert_eq!(most.keys(), 100);
        most.fewer_than(200);
        assert_eq!(most.keys(), 100, "an older answer teaches nothing new");
        most.one();
        assert_eq!(most.keys(), 1);
        tokio::time::advance(BELIEVED).await;
        assert_eq!(most.keys(), MOST_KEYS);
    }
}
