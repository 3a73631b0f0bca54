//! Peeks: soon after a change of the ring, a key's former owner is asked for it before the loader.

use std::time::Duration;

use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::expiry::after;
use crate::generation::Start;
use crate::group::many::Seat;
use crate::group::{Answer, Group, Part, Pilot, Source, is_mine};
use crate::peer::{PeekRequest, PeerError};
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::{Entry, Key};

/// What the peeks of one load may take together: as long as an owner may stay silent before anyone wonders.
const PEEK_TIME: Duration = Duration::from_millis(50);

/// A peer that gave no answer is left in peace for so long: one that is dead must not slow every load down.
const REST: Duration = Duration::from_secs(1);

/// Peeks at a time for loads that start together: as many as what leaves a node's other calls their places.
const PEEKS_AT_ONCE: usize = 64;

/// Peers that gave no answer to a peek, and until when they are left in peace. At most those of the former rings.
#[derive(Debug, Default)]
pub(super) struct Resting(Mutex<Vec<(String, Instant)>>);

impl Resting {
    fn has(&self, peer: &str, now: Instant) -> bool {
        self.0.lock().iter().any(|(name, until)| name == peer && now < *until)
    }

    fn add(&self, peer: &str, now: Instant) {
        let mut resting = self.0.lock();
        resting.retain(|(name, until)| name != peer && now < *until);
        resting.push((peer.to_owned(), after(now, REST)));
    }
}

impl Group {
    /// What a former owner of the key holds, kept here like a load; `None`: the loader is to be called.
    ///
    /// A peek is a fetch: inside the key's window none is made, for nobody might keep or join it (K2), nor without grants (K3).
    pub(super) async fn peek_at_former_owners(&self, key: &Key, hash: u64, pilot: &Pilot) -> Option<Answer> {
        // Somebody may join the other kind of flight until it calls the loader, and must not get an answer from before that.
        if !pilot.is_shared() {
            return None;
        }
        let clock = self.grants.clock();
        let now = clock.now();
        // The generation first, the state after it: see `Group::sent`.
        let start = self.generations.start(hash, now);
        let (former, version, max_value_bytes) = {
            let state = self.state.load();
            let view = state.view().filter(|view| is_mine(view, key))?;
            if (start.in_window && !off(Rule::WindowedPeeks)) || !state.serves(now) {
                return None;
            }
            (state.formers.owners(key, view, now), view.version(), state.settings.max_value_bytes)
        };
        let deadline = after(Instant::now(), PEEK_TIME);
        let asked = former.iter().filter(|peer| !self.resting.has(&peer.name, now));
        for (nth, peer) in asked.enumerate() {
            if nth == 0 {
                self.counters.add(Count::Peeks);
            }
            let request = PeekRequest { group: self.name.clone(), key: key.clone(), version, deadline };
            let peeked = timeout_at(deadline, self.peers.peek(peer, request)).await;
            match peeked.unwrap_or(Err(PeerError::DeadlineExceeded)).map(|peeked| peeked.entry) {
                Ok(Some(entry))
                    if !entry.is_expired(clock.now()) && entry.value_bytes() <= max_value_bytes =>
                {
                    self.counters.add(Count::PeekHits);
                    return Some(self.keep_peeked(key, hash, entry, start));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(group = %self.name, peer = peer.name, %error, "no answer to a peek");
                    self.resting.add(&peer.name, now);
                }
            }
        }
        None
    }

    /// The same for loads that start together: lands what a former owner holds, and answers what is left to the loader.
    pub(super) async fn peek_together(&self, seats: Vec<Seat>) -> Vec<Seat> {
        if !self.state.load().formers.any(self.grants.clock().now()) {
            return seats;
        }
        let peek = |seat: Seat| async move {
            let answer = self.peek_at_former_owners(&seat.wanted.key, seat.wanted.hash, &seat.pilot).await;
            (seat, answer)
        };
        let mut peeked = Box::pin(stream::iter(seats).map(peek).buffered(PEEKS_AT_ONCE));
        let mut left = Vec::new();
        while let Some((seat, answer)) = peeked.next().await {
            match answer {
                Some(answer) => seat.land(Ok(answer)),
                None => left.push(seat),
            }
        }
        left
    }

    /// Keeps what a peek has brought if the key was not purged since it started (K1).
    fn keep_peeked(&self, key: &Key, hash: u64, entry: Entry, start: Start) -> Answer {
        let keep = self.keep(Part::Main, key, hash, &entry, start.generation);
        Answer { entry, source: Source::Peer, keep }
    }
}
