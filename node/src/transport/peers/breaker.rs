//! Whether a node is asked at all: one that has shown no sign of life for several fetches costs the next ones nothing.
//!
//! Every message from the node closes it, whatever that answers. Beats and purges are never held back: they are what must get through.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::peer::PeerError;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::metrics::PeerMetrics;

/// Fetches in a row without a sign of life after which the node is not asked for a while.
const FAILURES: u32 = 5;

/// Or so long without one, however few the fetches were.
const SILENCE: Duration = Duration::from_secs(1);

/// For how long it is not asked at first; twice as long after every probe in vain.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// One node's breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    /// Held for a few instructions.
    state: Mutex<State>,
    /// By how much its pauses are longer or shorter than others'.
    apart: f64,
    metrics: PeerMetrics,
}

#[derive(Debug, Default)]
struct State {
    /// The last sign of life.
    heard: Option<Instant>,
    /// Fetches without one since.
    failures: u32,
    /// When the first of them began.
    silent: Option<Instant>,
    shut: Option<Shut>,
}

#[derive(Debug)]
struct Shut {
    until: Instant,
    pause: Duration,
    probed: bool,
}

/// A fetch that may be sent. Dropped without a word it proves nothing.
#[derive(Debug)]
pub(super) struct Asking {
    breaker: Arc<Breaker>,
    began: Instant,
    probe: bool,
}

impl Breaker {
    /// The breaker of a link, which `seed` tells from others.
    pub(super) fn new(seed: u64, metrics: PeerMetrics) -> Self {
        Breaker { state: Mutex::default(), apart: apart(seed), metrics }
    }

    /// Leave to send a fetch. While the node is not asked, one at a time tries whether it is there again.
    ///
    /// # Errors
    /// If the node is not asked now.
    pub(super) fn ask(self: &Arc<Self>) -> Result<Asking, PeerError> {
        let began = Instant::now();
        let mut state = self.state.lock();
        let probe = match &mut state.shut {
            None => false,
            Some(shut) if shut.probed || began < shut.until => {
                let why = "it has shown no sign of life lately and is not asked for a while";
                return Err(PeerError::Unreachable(why.into()));
            }
            Some(shut) => {
                shut.probed = true;
                true
            }
        };
        drop(state);
        Ok(Asking { breaker: Arc::clone(self), began, probe })
    }

    /// The node has said something.
    pub(super) fn heard(&self) {
        let mut state = self.state.lock();
        let was_shut = state.shut.is_some();
        *state = State { heard: Some(Instant::now()), ..State::default() };
        drop(state);
        if was_shut {
            self.metrics.asked_again();
        }
    }

    fn unheard(&self, began: Instant, probe: bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        if let Some(shut) = &mut state.shut {
            // Others that were sent before it shut tell nothing new.
            if probe {
                shut.pause = (shut.pause * 2).min(LONGEST_PAUSE);
                shut.until = now + shut.pause.mul_f64(self.apart);
                shut.probed = false;
            }
            return;
        }
        if state.heard.is_some_and(|heard| heard >= began) {
            // It has been heard since: this one was only slow.
            return;
        }
        state.failures += 1;
        let silent = *state.silent.get_or_insert(began);
        if state.failures >= FAILURES || now.saturating_duration_since(silent) >= SILENCE {
            let until = now + FIRST_PAUSE.mul_f64(self.apart);
            state.shut = Some(Shut { until, pause: FIRST_PAUSE, probed: false });
            drop(state);
            self.metrics.not_asked();
        }
    }
}

impl Drop for Breaker {
    fn drop(&mut self) {
        if self.state.get_mut().shut.is_some() {
            self.metrics.asked_again();
        }
    }
}

impl Asking {
    /// The fetch has ended so.
    pub(super) fn ended<T>(self, answer: &Result<T, PeerError>) {
        match answer {
            Ok(_) | Err(PeerError::Refused(_)) => self.breaker.heard(),
            Err(PeerError::Unreachable(_)) => self.breaker.unheard(self.began, self.probe),
            // The caller had less patience than silence needs to be one.
            Err(PeerError::DeadlineExceeded) => {}
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        if self.probe
            && let Some(shut) = &mut self.breaker.state.lock().shut
        {
            shut.probed = false;
        }
    }
}

/// From three to five quarters: apart from each other, so that nodes do not come back all at the same moment. Not by chance, so that a run in
/// virtual time can be run again.
fn apart(seed: u64) -> f64 {
    let mixed = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    0.75 + 0.5 * (mixed as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SILENT: Result<(), PeerError> = Err(PeerError::DeadlineExceeded);

    fn unreachable() -> Result<(), PeerError> {
        Err(PeerError::Unreachable("no sign of life".into()))
    }

    fn breaker() -> Arc<Breaker> {
        Arc::new(Breaker::new(7, PeerMetrics::default()))
    }

    #[test]
    fn links_pause_apart_from_each_other_and_each_by_its_own_measure() {
        let all: Vec<f64> = (0..100).map(apart).collect();
        assert!(all.iter().all(|apart| (0.75..=1.25).contains(apart)));
        assert!(all.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 0.01), "{all:?}");
        assert_eq!(all, (0..100).map(apart).collect::<Vec<_>>());
    }

    fn shut() -> Arc<Breaker> {
        let breaker = breaker();
        for _ in 0..FAILURES {
            breaker.ask().unwrap().ended(&unreachable());
        }
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_several_times_in_a_row_is_not_asked() {
        let breaker = breaker();
        for _ in 1..FAILURES {
            breaker.ask().unwrap().ended(&unreachable());
        }
        // Neither is silence: an answer, and a caller that could not wait.
        breaker.ask().unwrap().ended(&Ok(()));
        breaker.ask().unwrap().ended(&SILENT);
        for _ in 0..FAILURES {
            advance(Duration::from_millis(1)).await;
            breaker.ask().unwrap().ended(&unreachable());
        }
        assert!(breaker.ask().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_of_silence_is_enough() {
        let breaker = breaker();
        breaker.ask().unwrap().ended(&unreachable());
        let asking = breaker.ask().unwrap();
        advance(SILENCE).await;
        asking.ended(&unreachable());
        assert!(breaker.ask().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_began_before_the_last_sign_of_life_proves_nothing() {
        let breaker = breaker();
        let slow: Vec<_> = (0..FAILURES).map(|_| breaker.ask().unwrap()).collect();
        advance(Duration::from_millis(150)).await;
        breaker.heard();
        slow.into_iter().for_each(|asking| asking.ended(&unreachable()));
        assert!(breaker.ask().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time_tries_again_after_a_pause_that_grows() {
        let breaker = shut();
        let mut pause = FIRST_PAUSE;
        for _ in 0..6 {
            advance(pause.mul_f64(0.74)).await;
            assert!(breaker.ask().is_err(), "{pause:?}");
            advance(pause.mul_f64(0.52)).await;
            let probe = breaker.ask().unwrap();
            assert!(breaker.ask().is_err(), "two probes");
            probe.ended(&unreachable());
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        // A probe whose caller goes away leaves its place.
        advance(pause * 2).await;
        drop(breaker.ask().unwrap());
        breaker.ask().unwrap().ended(&Ok(()));
        assert!(breaker.ask().is_ok() && breaker.ask().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn any_sign_of_life_closes_it() {
        let breaker = shut();
        assert!(breaker.ask().is_err());
        breaker.heard();
        assert!(breaker.ask().is_ok());
    }
}
