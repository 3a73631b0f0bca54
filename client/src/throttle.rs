//! Bounds the retries: a cluster that is down is not asked twice as often.
//!
//! The rule is gRPC's `retryThrottling`, so that clients in all languages behave alike: a failed attempt takes a token, one that
//! succeeds gives `token_ratio` back, and nothing is retried while half of the tokens or fewer are left.

use std::sync::atomic::{AtomicI64, Ordering};

/// Most tokens: so many attempts may fail in a row, half of them retried.
pub(crate) const MAX_TOKENS: i64 = 100;

/// Tokens that a success gives back. At 1 retries go on as long as no more than half of the attempts fail: one node of two may be gone.
pub(crate) const TOKEN_RATIO: i64 = 1;

#[derive(Debug)]
pub(crate) struct Throttle(AtomicI64);

impl Default for Throttle {
    fn default() -> Self {
        Throttle(AtomicI64::new(MAX_TOKENS))
    }
}

impl Throttle {
    pub(crate) fn succeeded(&self) {
        // Full nearly always: the read keeps the shared line clean.
        if self.0.load(Ordering::Relaxed) < MAX_TOKENS {
            self.0.fetch_add(TOKEN_RATIO, Ordering::Relaxed);
        }
    }

    /// Takes a token and says whether the call may be tried again.
    pub(crate) fn failed(&self) -> bool {
        // A few callers may take the count below zero together; it is lifted again, so that success counts soon.
        let left = self.0.fetch_sub(1, Ordering::Relaxed) - 1;
        if left < 0 {
            self.0.fetch_max(0, Ordering::Relaxed);
        }
        left > MAX_TOKENS / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_stop_when_most_attempts_fail_and_come_back_with_success() {
        let throttle = Throttle::default();
        let retried = (0..1_000).filter(|_| throttle.failed()).count();
        assert_eq!(retried, 49);
        for _ in 0..52 {
            throttle.succeeded();
        }
        assert!(throttle.failed());
    }

    #[test]
    fn one_node_of_two_may_be_gone_for_ever() {
        let throttle = Throttle::default();
        for _ in 0..1_000 {
            assert!(throttle.failed());
            throttle.succeeded();
        }
    }
}
