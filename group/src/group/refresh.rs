//! Refreshes in the background what is in use: at the source where this node owns the key, else at the owner.
//!
//! One runs at a time for each entry. At the source it is the key's ordinary load, under the same fence, which whoever needs the value may join. At the owner it is a fetch of its own
//! that asks the owner alone: a node that is not the owner calls no loader for a refresh, not even if the owner is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::cache::Held;
use crate::expiry::after;
use crate::flight::Boarded;
use crate::group::fetch::FETCH_MARGIN;
use crate::group::{Flown, Group, Source, is_mine};
use crate::stats::Count;
use crate::value::Key;

/// Refreshes of one group under way at this node: half of the places a loader has by default, so that loads which somebody waits for find theirs.
pub(super) const MOST_REFRESHES: usize = 32;

/// When a refresh that failed, or found no place, is tried again at the source.
const PAUSE_AT_SOURCE: Duration = Duration::from_secs(1);

/// When the owner is asked again that had nothing newer yet: it costs no load.
const PAUSE_AT_OWNER: Duration = Duration::from_millis(100);

impl Group {
    /// Starts a refresh of a held entry if one is due.
    pub(super) fn refresh(self: &Arc<Self>, key: &Key, held: &Arc<Held>, now: Instant) {
        let time = self.settings().load_timeout.saturating_add(FETCH_MARGIN);
        if !held.claim(time, now) {
            return;
        }
        let Ok(place) = self.refreshes.clone().try_acquire_owned() else {
            self.counters.add(Count::LoadsShed);
            held.rest(PAUSE_AT_SOURCE, now);
            return;
        };
        let mine = self.view().is_some_and(|view| is_mine(&view, key));
        let pause = if mine { PAUSE_AT_SOURCE } else { PAUSE_AT_OWNER };
        let Some(boarded) = self.board_refresh(key, held, mine, now) else {
            held.rest(pause, now);
            return;
        };
        // One that found a load under way is not a refresh of its own.
        let own = !boarded.joined;
        if own {
            self.counters.add(Count::Refreshes);
        }
        let (group, held) = (self.clone(), held.clone());
        tokio::spawn(async move {
            let flown = boarded.waiter.wait(after(Instant::now(), time)).await;
            let failed = match &flown {
                // The owner's own stale answer is not a failure: it refreshes too.
                Ok(Ok(answer)) => mine && answer.source == Source::Stale,
                Ok(Err(_)) | Err(_) => true,
            };
            if failed && own {
                group.counters.add(Count::RefreshFailures);
            }
            // If it was replaced, nobody finds it any more.
            held.rest(pause, group.grants.clock().now());
            drop(place);
        });
    }

    /// The refresh's flight; `None` if none may start.
    fn board_refresh(
        self: &Arc<Self>,
        key: &Key,
        held: &Held,
        mine: bool,
        now: Instant,
    ) -> Option<Boarded<Flown>> {
        let hash = self.hasher.hash_one(key);
        // The generation first, the view after it: see `sent`.
        let start = self.generations.start(hash, now);
        let state = self.state.load_full();
        let view = state.view.clone().filter(|_| state.serves(now))?;
        let older = Some(held.entry().loaded);
        if mine {
            self.board_load_after(key, hash, start, &state, older).ok()
        } else {
            self.board_refetch(key, hash, start, &state, view).ok()
        }
    }
}
