//! For the simulation alone: a seed for what is random here, and a switch for each rule that it proves to be needed.
//!
//! A third thing is its own there: [`watch`], whose runtime's version wakes at random.
//!
//! Without the feature `simulation`, which no program that is shipped has, every rule is in force and this is compiled to nothing.

use ahash::RandomState;
use tokio::time::Instant;

#[cfg(not(feature = "simulation"))]
pub(crate) use tokio::sync::watch;

#[cfg(feature = "simulation")]
pub mod watch;

/// Whether a thread that may block frees full caches and lists what they hold. In the simulation it would disturb the order of tasks, at times of its own.
pub(crate) const WORKS_ASIDE: bool = cfg!(not(feature = "simulation"));

/// A rule that the simulation can switch off, to see that its judges notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// K1: a result is kept only if its key was not purged meanwhile.
    Fence,
    /// K1: a purge raises the generation before, not after, it lets go of the copies.
    RaiseAtOnce,
    /// K2: what was fetched in the window after a purge is not kept.
    Window,
    /// K2: what was fetched in the window after a purge is not joined.
    JoinInWindow,
    /// K2: a peek or a take-over counts as a fetch.
    WindowedPeeks,
    /// K3: what was started without grants is not kept.
    KeepWithout,
    /// K4: a process begins with an open window.
    FirstWindow,
    /// K5: a lapse drops the copies.
    Lapse,
    /// K6: only main answers peers.
    HotIsALeaf,
    /// K6: a forwarded request is not forwarded.
    ForwardOnce,
    /// G1: copies are served only with grants.
    Grants,
    /// G1: a majority of every membership that binds, not of the newest alone.
    EveryMajority,
    /// G3: a grant runs from the sending of the beat.
    FromSending,
    /// G3: who is barred is granted nothing.
    Barred,
    /// G4: a grantor that has started grants nothing for one bound.
    Silence,
    /// G6: a Joining member keeps nothing.
    JoiningKeeps,
    /// R1: a Remove waits for every member's purge, not for the owner's alone.
    PurgeAll,
    /// R1: a newer membership that an acknowledgement shows extends the Remove.
    Learn,
    /// R2: the grants of the unreached are waited out.
    WaitOut,
    /// R3: there is a second round.
    SecondRound,
    /// Loads and fetches fly in two tables.
    TwoTables,
    /// Who asks for a key that is being loaded joins that load.
    OneLoad,
    /// A flight does not end with the caller that started it.
    OwnDeadline,
    /// Who cannot reach an owner asks the second one before it loads itself.
    SecondOwner,
}

/// The flight that calls the loader: what decides who might have joined it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flying {
    /// The generation it boarded in.
    pub generation: u64,
    /// The key's last purge at that time: flights of older generations were not to be joined.
    pub purged: u64,
    /// True if others might join it after it was sent.
    pub shared: bool,
    /// When it boarded.
    pub boarded: Instant,
}

#[cfg(not(feature = "simulation"))]
mod inert {
    use tokio::time::Instant;

    use super::{Flying, RandomState, Rule};

    /// Always false: every rule is in force.
    #[inline]
    pub(crate) const fn off(_: Rule) -> bool {
        false
    }

    /// Keyed anew by the process's own randomness.
    pub(crate) fn random_state() -> RandomState {
        RandomState::new()
    }

    #[inline]
    pub(crate) const fn leads(_: Instant) {}

    #[inline]
    pub(crate) const fn flies(_: Flying) {}

    #[inline]
    pub(crate) async fn led<T>(run: impl Future<Output = T>) -> Option<T> {
        Some(run.await)
    }
}

#[cfg(feature = "simulation")]
mod active {
    use std::cell::Cell;

    use tokio::time::{Instant, timeout_at};

    use super::{Flying, RandomState, Rule};

    thread_local! {
        static OFF: Cell<u64> = const { Cell::new(0) };
        static SEED: Cell<u64> = const { Cell::new(0) };
        static LEADER: Cell<Option<Instant>> = const { Cell::new(None) };
        static FLYING: Cell<Option<Flying>> = const { Cell::new(None) };
    }

    /// On this thread, from now on: these rules are off, and what is random follows from `seed`.
    pub fn begin(seed: u64, rules_off: &[Rule]) {
        SEED.set(seed);
        OFF.set(rules_off.iter().fold(0, |bits, rule| bits | 1 << *rule as u64));
    }

    #[inline]
    pub(crate) fn off(rule: Rule) -> bool {
        OFF.get() & (1 << rule as u64) != 0
    }

    pub(crate) fn random_state() -> RandomState {
        let seed = SEED.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        SEED.set(seed);
        RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed.rotate_left(43))
    }

    /// The caller whose Get boards next.
    pub(crate) fn leads(deadline: Instant) {
        LEADER.set(Some(deadline));
    }

    /// The flight whose load begins next.
    pub(crate) fn flies(flying: Flying) {
        FLYING.set(Some(flying));
    }

    /// The flight whose load begins: for a loader, as it is called.
    #[must_use]
    pub fn flying() -> Option<Flying> {
        FLYING.take()
    }

    /// Runs a flight to its end, or, with [`Rule::OwnDeadline`] off, to its first caller's.
    pub(crate) fn led<T>(run: impl Future<Output = T>) -> impl Future<Output = Option<T>> {
        let leader = LEADER.take().filter(|_| off(Rule::OwnDeadline));
        async move {
            match leader {
                Some(deadline) => timeout_at(deadline, run).await.ok(),
                None => Some(run.await),
            }
        }
    }
}

#[cfg(feature = "simulation")]
pub use active::{begin, flying};
#[cfg(feature = "simulation")]
pub(crate) use active::{flies, leads, led, off, random_state};
#[cfg(not(feature = "simulation"))]
pub(crate) use inert::{flies, leads, led, off, random_state};
