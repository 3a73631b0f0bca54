//! How fast a load may go: every call has its turn, so that all callers together send so many Gets a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Shared by all callers; begins when it is made.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    per_second: f64,
    sent: AtomicU64,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Pace { began: Instant::now(), per_second: f64::from(per_second), sent: AtomicU64::new(0) }
    }

    /// Waits until so many Gets more may be sent. Who comes late does not wait: what was not sent in time is sent as soon as it can be.
    pub(crate) async fn turn(&self, gets: u64) {
        let before = self.sent.fetch_add(gets, Ordering::Relaxed);
        sleep_until(self.began + Duration::from_secs_f64(before as f64 / self.per_second)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_takes_as_many_gets_as_it_may() {
        let pace = Pace::new(100);
        for _ in 0..11 {
            pace.turn(10).await;
        }
        assert_eq!(pace.began.elapsed().as_secs(), 1);
    }
}
