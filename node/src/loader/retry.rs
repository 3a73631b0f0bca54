//! Further tries of a load that failed: which failures, after which pause, and how many in all.
//!
//! A source that fails gets at most a fifth more loads than it would without: a blip is bridged, a source that is down is not beaten.

use std::time::Duration;

use groupcache_group::loader::LoadError;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::loader::failure::{DEADLINE_EXCEEDED, UNAVAILABLE};

/// The pause before the second try; it doubles with each one.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// One retry for so many loads.
const LOADS_PER_RETRY: u32 = 5;

/// Retries at the start, before any load has paid for one.
const FLOOR: u32 = 3;

/// Most retries that a calm time saves up.
const MOST_SAVED: u32 = 10;

/// Where there are few loads, one retry in so long is free.
const FREE_EVERY: Duration = Duration::from_secs(10);

/// True if another try may well succeed: the source was not reached, or said that it is not there now. What it says about the key it would say again.
pub(crate) fn is_worth_it(error: &LoadError) -> bool {
    matches!(error, LoadError::Failed { code: UNAVAILABLE | DEADLINE_EXCEEDED, .. })
}

/// How long to wait after so many tries: longer each time, and never as long as another load waits.
pub(crate) fn pause(tries: u32) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
    doubled.min(LONGEST_PAUSE).mul_f64(rand::random_range(0.5..=1.0))
}

/// What retries are paid from: loads pay in.
#[derive(Debug)]
pub(crate) struct Budget(Mutex<Account>);

#[derive(Debug)]
struct Account {
    /// In loads: a retry costs [`LOADS_PER_RETRY`].
    saved: u32,
    free: Instant,
}

impl Budget {
    pub(crate) fn new() -> Self {
        let free = Instant::now() + FREE_EVERY;
        Budget(Mutex::new(Account { saved: FLOOR * LOADS_PER_RETRY, free }))
    }

    /// A load is begun.
    pub(crate) fn pay_in(&self) {
        let mut account = self.0.lock();
        account.saved = (account.saved + 1).min(MOST_SAVED * LOADS_PER_RETRY);
    }

    /// True if a retry may be made; it is paid then.
    pub(crate) fn pay(&self) -> bool {
        let mut account = self.0.lock();
        if let Some(rest) = account.saved.checked_sub(LOADS_PER_RETRY) {
            account.saved = rest;
            return true;
        }
        let now = Instant::now();
        let free = account.free <= now;
        if free {
            account.free = now + FREE_EVERY;
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn retries_are_a_fifth_of_the_loads_and_a_few_more() {
        let budget = Budget::new();
        let retries = (0..1_000)
            .filter(|_| {
                budget.pay_in();
                budget.pay()
            })
            .count();
        assert_eq!(retries, 200 + FLOOR as usize);
        assert!(!budget.pay());
        tokio::time::advance(FREE_EVERY).await;
        assert!(budget.pay(), "where there are few loads, one now and then");
        assert!(!budget.pay());
        (0..10_000).for_each(|_| budget.pay_in());
        assert_eq!(
            (0..100).filter(|_| budget.pay()).count(),
            MOST_SAVED as usize,
            "a calm saves up a little"
        );
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        let longest = |tries| (0..100).map(|_| pause(tries)).max().unwrap_or_default();
        assert!(longest(1) <= FIRST_PAUSE && longest(1) > FIRST_PAUSE / 2);
        assert!(longest(2) > FIRST_PAUSE && longest(2) <= FIRST_PAUSE * 2);
        assert!((0..100).all(|_| pause(40) >= LONGEST_PAUSE / 2 && pause(40) <= LONGEST_PAUSE));
        assert!((0..100).any(|_| pause(1) != pause(1)));
    }
}
