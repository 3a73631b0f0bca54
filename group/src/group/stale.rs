//! What is no plain hit and yet answers: an entry due for a refresh, a stale one, a stale one in place of a failure.
//!
//! P1 holds for stale entries as for fresh ones: a purge drops both, and what a flight found as it began it answers only if the key's generation
//! still stands as it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Held;
use crate::freshness::Lease;
use crate::generation::Generation;
use crate::group::state::State;
use crate::group::{Answer, Flown, GetError, Group, Origin, Part, Settings, Source, is_mine};
use crate::stats::Count;
use crate::value::Key;

/// What is held of a key, and in which cache.
pub(super) struct Found {
    held: Arc<Held>,
    source: Source,
}

/// What was held of a key as a flight began, should the flight fail.
pub(super) struct Kept {
    found: Option<Found>,
    hash: u64,
    generation: Generation,
}

impl Found {
    fn is_fresh(&self, now: Instant) -> bool {
        !self.held.entry().is_expired(now)
    }

    /// Stale as it is told to others: an entry whose time is up. A node that asked may answer it, and has nothing to keep.
    fn answer(&self, now: Instant) -> Answer {
        let source = if self.is_fresh(now) { self.source } else { Source::Stale };
        Answer { entry: self.held.entry().clone(), source, keep: true }
    }
}

impl Kept {
    /// The answer of a fresh entry, if its load started after `older`: the flight before may have landed since somebody looked.
    pub(super) fn fresh(&self, older: Option<Instant>, now: Instant) -> Option<Answer> {
        let found = self.found.as_ref().filter(|found| found.is_fresh(now))?;
        older.is_none_or(|older| found.held.entry().loaded > older).then(|| found.answer(now))
    }
}

impl State {
    /// What is held of the key and of use, fresh before stale; hot only for clients (K6).
    fn find(&self, key: &[u8], origin: Origin, now: Instant) -> Option<Found> {
        if !self.serves(now) {
            return None;
        }
        let main = self.cache.main.find(key, now).map(|held| Found { held, source: Source::Main });
        if main.as_ref().is_some_and(|found| found.is_fresh(now)) {
            return main;
        }
        let hot = self.cache.hot.as_ref().filter(|_| origin == Origin::Client);
        let hot = hot.and_then(|hot| hot.find(key, now)).map(|held| Found { held, source: Source::Hot });
        match (main, hot) {
            (Some(main), Some(hot)) if main.held.entry().loaded >= hot.held.entry().loaded => Some(main),
            (main, hot) => hot.or(main),
        }
    }

    /// By what the life of an entry is measured that is kept now. What a node loads for others it keeps for a moment only, and never longer.
    pub(super) fn lease(&self, part: Part, key: &Key) -> Lease {
        let lease = Lease {
            stale: longest_stale(&self.settings),
            early_percent: self.settings.early_refresh_percent,
        };
        if lease == Lease::default() {
            return lease;
        }
        match part {
            // The owner alone refreshes ahead of time.
            Part::Hot => Lease { early_percent: 0, ..lease },
            Part::Main if self.view().is_some_and(|view| is_mine(view, key)) => lease,
            Part::Main => Lease::default(),
        }
    }
}

fn longest_stale(settings: &Settings) -> Duration {
    settings.stale_while_revalidate.max(settings.stale_if_error)
}

impl Group {
    /// An answer that is here although [`Group::cached`] did not give it, and the refresh that it is due for.
    pub(super) fn aged(self: &Arc<Self>, key: &Key, origin: Origin, now: Instant) -> Option<Answer> {
        let state = self.state.load_full();
        let found = state.find(key.as_bytes(), origin, now)?;
        let mine = state.view().is_some_and(|view| is_mine(view, key));
        let main = found.source == Source::Main;
        if found.is_fresh(now) {
            if main && mine {
                self.refresh(key, &found.held, now);
            } else {
                // Not ours to refresh: its hits go the short way until it expires.
                let rest = found.held.entry().remaining(now).unwrap_or_default();
                found.held.claim(rest, now);
            }
            return Some(found.answer(now));
        }
        // What was ours and no longer is, another node refreshes.
        let usable = mine || !main;
        if usable && found.held.is_stale_within(state.settings.stale_while_revalidate, now) {
            self.refresh(key, &found.held, now);
            return Some(found.answer(now));
        }
        None
    }

    /// Notes what is held of a key as its flight begins: the generation first, so that a purge in between is seen to be one.
    pub(super) fn kept(&self, key: &Key, hash: u64, origin: Origin, now: Instant) -> Kept {
        let generation = self.generations.start(hash, now).generation;
        let found = self.state.load().find(key.as_bytes(), origin, now);
        Kept { found, hash, generation }
    }

    /// What ends a flight that failed: a stale value, if it may be used and the key was not purged since the flight began (P1), or the failure.
    pub(super) fn cover(&self, kept: &Kept, error: GetError, now: Instant) -> Flown {
        let Some(found) = &kept.found else { return Err(error) };
        let limit = self.state.load().settings.stale_if_error;
        if !found.held.is_stale_within(limit, now) {
            return Err(error);
        }
        let version = found.held.entry().source_version;
        let serves = || self.state.load().serves(now);
        if !self.generations.if_stands(kept.hash, kept.generation, version, serves).unwrap_or(false) {
            return Err(error);
        }
        tracing::debug!(group = %self.name, %error, "a stale value is answered instead");
        self.counters.add(Count::StaleOnError);
        Ok(found.answer(now))
    }
}
