//! The circuit breaker of a loader, for one group: while most loads fail none is sent, and after a while one is tried.
//!
//! A source that cannot answer is not asked, and callers hear so at once rather than at a timeout. It closes with the first load that succeeds.
//! The first one is tried soon, so that a short fault is over when the source is back; while they fail, each waits twice as long as the one before, up to
//! the configured time.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::configuration::BreakerSettings;

/// Fewer loads in the window say nothing: two failures of three are a bad moment, not a source that is down.
const LEAST_LOADS: u32 = 20;

/// The window moves in so many steps.
const SLOTS: usize = 10;

/// How long a breaker is open at first, if it is not told to be open for less.
const FIRST_OPEN: Duration = Duration::from_millis(250);

/// An open breaker waits up to this much longer, so that the nodes of a cluster do not try all at once.
const JITTER: f64 = 0.1;

/// What a breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Everything.
    Closed,
    /// One load, to see whether the source is back.
    HalfOpen,
    /// Nothing.
    Open,
}

/// Why a load is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the next load is tried; `None`: one is under way.
    pub after: Option<Duration>,
}

/// How a load ended, as far as it speaks of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered.
    Answered,
    /// It did not, or with a failure.
    Failed,
    /// Nothing is known of it.
    Nothing,
}

/// The breaker.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    name: String,
    /// Held for arithmetic only.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// For how long it was opened last, without what was added so that nodes differ.
    open: Duration,
    /// Grows with every change of phase: a load that was sent before one says nothing about what came after.
    turn: u64,
}

#[derive(Debug)]
enum Phase {
    Closed(Box<Window>),
    Open { until: Instant },
    HalfOpen { trying: bool },
}

/// A load that was let through; one that is dropped without a verdict says nothing.
#[derive(Debug)]
pub struct Ticket<'a> {
    breaker: &'a Breaker,
    turn: u64,
    verdict: Verdict,
}

impl Breaker {
    /// A closed one; `name` says in the log whose it is.
    #[must_use]
    pub fn new(settings: BreakerSettings, name: String) -> Self {
        let phase = Phase::Closed(Window::new(settings.window).into());
        Breaker { settings, name, state: Mutex::new(State { phase, open: Duration::ZERO, turn: 0 }) }
    }

    /// What it lets through now.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        match self.state.lock().phase {
            Phase::Closed(_) => Circuit::Closed,
            Phase::Open { until } if until > Instant::now() => Circuit::Open,
            Phase::Open { .. } | Phase::HalfOpen { .. } => Circuit::HalfOpen,
        }
    }

    /// Whether a load has a chance; [`Breaker::enter`] decides.
    ///
    /// # Errors
    /// If it would be refused now.
    pub fn look(&self) -> Result<(), Refused> {
        self.state.lock().phase.refuses()
    }

    /// Lets a load through.
    ///
    /// # Errors
    /// If it is not to be sent.
    pub fn enter(&self) -> Result<Ticket<'_>, Refused> {
        let mut state = self.state.lock();
        state.phase.refuses()?;
        if matches!(state.phase, Phase::Open { .. } | Phase::HalfOpen { .. }) {
            state.turn += 1;
            state.phase = Phase::HalfOpen { trying: true };
        }
        Ok(Ticket { breaker: self, turn: state.turn, verdict: Verdict::Nothing })
    }

    fn ended(&self, turn: u64, verdict: Verdict) {
        let mut state = self.state.lock();
        if state.turn != turn {
            return;
        }
        let opens = match (&mut state.phase, verdict) {
            (Phase::Closed(window), _) => {
                window.add(verdict);
                window.fails(self.settings.failure_percent)
            }
            (Phase::HalfOpen { trying }, Verdict::Nothing) => {
                *trying = false;
                false
            }
            (Phase::HalfOpen { .. }, Verdict::Answered) => {
                state.turn += 1;
                state.phase = Phase::Closed(Window::new(self.settings.window).into());
                drop(state);
                tracing::info!(loader = self.name, "the loader answers again: loads are sent");
                return;
            }
            (Phase::HalfOpen { .. }, Verdict::Failed) => true,
            (Phase::Open { .. }, _) => false,
        };
        if opens {
            let was_closed = matches!(state.phase, Phase::Closed(_));
            state.open = state.next_open().min(self.settings.open);
            let pause = state.open.mul_f64(rand::random_range(1.0..1.0 + JITTER));
            state.turn += 1;
            state.phase = Phase::Open { until: Instant::now() + pause };
            drop(state);
            if was_closed {
                let percent = self.settings.failure_percent;
                tracing::warn!(
                    loader = self.name,
                    "{percent} % of the loads or more failed: none is sent until one that is tried succeeds"
                );
            }
        }
    }
}

impl State {
    /// How long it is to be open next. It begins small again only if the source was well for longer than it was last left alone: one that answers now and
    /// then is not flooded at every answer.
    fn next_open(&self) -> Duration {
        match &self.phase {
            Phase::Closed(window) if window.begun.elapsed() >= self.open => FIRST_OPEN,
            _ => self.open.saturating_mul(2).max(FIRST_OPEN),
        }
    }
}

impl Ticket<'_> {
    /// The load has ended so.
    pub fn ended(mut self, verdict: Verdict) {
        self.verdict = verdict;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.breaker.ended(self.turn, self.verdict);
    }
}

impl Phase {
    fn refuses(&self) -> Result<(), Refused> {
        let now = Instant::now();
        match self {
            Phase::Open { until } if *until > now => Err(Refused { after: Some(*until - now) }),
            Phase::HalfOpen { trying: true } => Err(Refused { after: None }),
            Phase::Closed(_) | Phase::Open { .. } | Phase::HalfOpen { .. } => Ok(()),
        }
    }
}

/// How the loads of the last while ended.
#[derive(Debug)]
struct Window {
    begun: Instant,
    step: Duration,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u128,
    answered: u32,
    failed: u32,
}

impl Window {
    fn new(length: Duration) -> Self {
        let step = (length / SLOTS as u32).max(Duration::from_millis(1));
        Window { begun: Instant::now(), step, slots: [Slot::default(); SLOTS] }
    }

    fn now(&self) -> u128 {
        self.begun.elapsed().as_nanos() / self.step.as_nanos()
    }

    fn add(&mut self, verdict: Verdict) {
        let number = self.now();
        let slot = &mut self.slots[(number % SLOTS as u128) as usize];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        match verdict {
            Verdict::Answered => slot.answered = slot.answered.saturating_add(1),
            Verdict::Failed => slot.failed = slot.failed.saturating_add(1),
            Verdict::Nothing => {}
        }
    }

    fn fails(&self, percent: u32) -> bool {
        let now = self.now();
        let (mut all, mut failed) = (0u64, 0u64);
        for slot in self.slots.iter().filter(|slot| slot.number + SLOTS as u128 > now) {
            all += u64::from(slot.answered) + u64::from(slot.failed);
            failed += u64::from(slot.failed);
        }
        all >= u64::from(LEAST_LOADS) && failed * 100 >= all * u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const OPEN: Duration = Duration::from_secs(5);

    fn breaker() -> Breaker {
        of(OPEN)
    }

    fn of(open: Duration) -> Breaker {
        let settings = BreakerSettings { failure_percent: 50, window: Duration::from_secs(10), open };
        Breaker::new(settings, "users".to_owned())
    }

    fn ends(breaker: &Breaker, verdict: Verdict, times: usize) {
        for _ in 0..times {
            breaker.enter().expect("it is let through").ended(verdict);
        }
    }

    /// That long, but for what is added so that nodes differ.
    fn is_about(time: Duration, wanted: Duration) -> bool {
        time >= wanted && time <= wanted.mul_f64(1.0 + JITTER)
    }

    /// Waits until a load is tried; how long that was.
    async fn tried(breaker: &Breaker) -> Duration {
        let began = Instant::now();
        while let Err(Refused { after }) = breaker.look() {
            sleep(after.expect("none is under way")).await;
        }
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_when_half_of_twenty_loads_failed_and_not_before() {
        let breaker = breaker();
        ends(&breaker, Verdict::Failed, 19);
        assert_eq!(breaker.circuit(), Circuit::Closed, "nineteen loads say nothing");
        ends(&breaker, Verdict::Nothing, 5);
        assert_eq!(breaker.circuit(), Circuit::Closed, "nothing known is no failure");
        ends(&breaker, Verdict::Failed, 1);
        assert_eq!(breaker.circuit(), Circuit::Open);
        let Refused { after } = breaker.enter().expect_err("it is open");
        assert!(after.is_some_and(|after| is_about(after, FIRST_OPEN)), "{after:?}");
        assert_eq!(breaker.look().expect_err("it is open").after, after);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_keep_it_closed_and_old_failures_are_forgotten() {
        let breaker = breaker();
        ends(&breaker, Verdict::Answered, 21);
        ends(&breaker, Verdict::Failed, 20);
        assert_eq!(breaker.circuit(), Circuit::Closed, "less than half");
        sleep(Duration::from_secs(11)).await;
        ends(&breaker, Verdict::Failed, 19);
        assert_eq!(breaker.circuit(), Circuit::Closed, "the failures of before are past");
        ends(&breaker, Verdict::Failed, 1);
        assert_eq!(breaker.circuit(), Circuit::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn one_load_at_a_time_is_tried_and_its_answer_closes_it_at_once() {
        let breaker = breaker();
        let old = breaker.enter().expect("closed");
        ends(&breaker, Verdict::Failed, 20);
        tried(&breaker).await;
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        let sent = breaker.enter().expect("one is tried");
        assert_eq!(breaker.enter().expect_err("one at a time"), Refused { after: None });
        // One that was given up makes way for another.
        drop(sent);
        let sent = breaker.enter().expect("the next one");
        sent.ended(Verdict::Failed);
        assert_eq!(breaker.circuit(), Circuit::Open);
        tried(&breaker).await;
        let sent = breaker.enter().expect("one is tried again");
        old.ended(Verdict::Answered);
        assert!(breaker.enter().is_err(), "what was sent long before says nothing");
        sent.ended(Verdict::Answered);
        assert_eq!(breaker.circuit(), Circuit::Closed);
        ends(&breaker, Verdict::Failed, 19);
        assert_eq!(breaker.circuit(), Circuit::Closed, "it counts anew");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_source_is_tried_ever_less_often_and_never_later_than_configured() {
        let breaker = breaker();
        ends(&breaker, Verdict::Failed, 20);
        for milliseconds in [250, 500, 1000, 2000, 4000, 5000, 5000, 5000] {
            let after = tried(&breaker).await;
            assert!(is_about(after, Duration::from_millis(milliseconds)), "{after:?}, not {milliseconds} ms");
            ends(&breaker, Verdict::Failed, 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_breaker_that_may_be_open_for_less_than_the_first_time_is() {
        let breaker = of(Duration::from_millis(100));
        ends(&breaker, Verdict::Failed, 20);
        let after = tried(&breaker).await;
        assert!(is_about(after, Duration::from_millis(100)), "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_answers_now_and_then_is_left_alone_for_longer_until_it_is_well() {
        let breaker = breaker();
        ends(&breaker, Verdict::Failed, 20);
        for milliseconds in [250, 500, 1000] {
            let after = tried(&breaker).await;
            assert!(is_about(after, Duration::from_millis(milliseconds)), "{after:?}, not {milliseconds} ms");
            ends(&breaker, Verdict::Answered, 1);
            sleep(Duration::from_millis(100)).await;
            ends(&breaker, Verdict::Failed, 20);
        }
        tried(&breaker).await;
        ends(&breaker, Verdict::Answered, 1);
        sleep(Duration::from_millis(2000)).await;
        ends(&breaker, Verdict::Failed, 20);
        let after = tried(&breaker).await;
        assert!(is_about(after, FIRST_OPEN), "it was well for long enough, and still {after:?}");
    }
}
