//! Another node answers: a fetch from the owner, then from the second owner, only then a load here.

use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::Member;
use tokio::time::{Instant, timeout_at};

use crate::expiry::after;
use crate::flight::{Boarded, Boarding, Lost};
use crate::generation::Start;
use crate::group::load::lost;
use crate::group::state::State;
use crate::group::{Answer, Flown, GetError, Group, Origin, Part, Source};
use crate::peer::{FetchOutcome, FetchRequest, PeerError};
use crate::stats::Count;
use crate::value::{Entry, Key};
use crate::view::{Place, View};

/// What a fetch may take beyond the owner's load: so that the owner's own verdict on a slow loader still arrives.
const FETCH_MARGIN: Duration = Duration::from_millis(200);

/// How many owners are asked before this node loads itself: the second coalesces for the whole cluster, a third would only cost time.
const OWNERS_ASKED: usize = 2;

/// A fetch that is starting.
struct Fetch {
    key: Key,
    hash: u64,
    start: Start,
    /// The three below as they were when it started, not when it ends. Not the whole state: a fetch may take long, and would hold a cache that is no
    /// longer in force.
    view: Arc<View>,
    serves: bool,
    max_value_bytes: usize,
    deadline: Instant,
}

impl Group {
    /// Joins or starts the key's fetch. One that starts inside the key's window flies alone (K2), as does one of a node that may not keep (K3).
    pub(super) fn board_fetch(
        self: &Arc<Self>,
        key: &Key,
        hash: u64,
        start: Start,
        state: &State,
        view: Arc<View>,
    ) -> Result<Boarded<Flown>, GetError> {
        let now = Instant::now();
        self.requests.note(hash, now);
        let serves = state.serves(self.grants.clock().now());
        let joinable = serves && !start.in_window;
        let deadline = after(now, state.settings.load_timeout.saturating_add(FETCH_MARGIN));
        let max_value_bytes = state.settings.max_value_bytes;
        let fetch = Fetch { key: key.clone(), hash, start, view, serves, max_value_bytes, deadline };
        let group = self.clone();
        let run = |_| async move { group.fetch(fetch).await };
        let how = if joinable { Boarding::Shared } else { Boarding::Alone };
        self.fetches.board(key, hash, start, how, run).map_err(|_| self.shed("fetches"))
    }

    async fn fetch(self: Arc<Self>, fetch: Fetch) -> Flown {
        // Looked at again inside the flight: the one before it may have landed since.
        if let Some((entry, source)) = self.state.load().look(fetch.key.as_bytes(), Origin::Client) {
            return Ok(Answer { entry, source, keep: true });
        }
        for (rank, place) in fetch.view.ranked(fetch.key.as_bytes(), OWNERS_ASKED).into_iter().enumerate() {
            let Place::Peer(owner) = place else { break };
            match self.ask(owner, &fetch).await {
                Some(Ok((entry, keep))) => {
                    if rank > 0 {
                        self.counters.add(Count::SecondOwnerFetches);
                    }
                    let keep = keep && self.keep_hot(&fetch, &entry);
                    return Ok(Answer { entry, source: Source::Peer, keep });
                }
                Some(Err(final_error)) => return Err(final_error),
                None => self.counters.add(Count::FetchFailures),
            }
        }
        self.load_instead(&fetch).await
    }

    /// What an owner says; `None` if it cannot say and the next one is to be asked.
    async fn ask(&self, owner: &Member, fetch: &Fetch) -> Option<Result<(Entry, bool), GetError>> {
        let request = FetchRequest {
            group: self.name.clone(),
            key: fetch.key.clone(),
            version: fetch.view.version(),
            deadline: fetch.deadline,
        };
        let said = match timeout_at(fetch.deadline, self.peers.fetch(owner, request)).await {
            Ok(said) => said,
            Err(_) => Err(PeerError::DeadlineExceeded),
        };
        match said.map(|fetched| fetched.outcome) {
            Ok(FetchOutcome::Entry { entry, keep }) => Some(Ok((entry, keep))),
            Ok(FetchOutcome::LoadError(error)) => Some(Err(GetError::Load(error))),
            // It is behind us in configuration, or we are behind it.
            Ok(FetchOutcome::UnknownGroup) => None,
            Err(PeerError::DeadlineExceeded) => Some(Err(GetError::DeadlineExceeded)),
            Err(error @ (PeerError::Unreachable(_) | PeerError::Refused(_))) => {
                tracing::debug!(group = %self.name, owner = owner.name, %error, "owner gave no answer");
                None
            }
        }
    }

    /// Keeps a copy of what an owner said, if the key is asked for often enough; true if a copy might be kept.
    fn keep_hot(&self, fetch: &Fetch, entry: &Entry) -> bool {
        let now = Instant::now();
        let fits = entry.value_bytes() <= fetch.max_value_bytes;
        let wanted = fetch.serves && fits && !entry.is_expired(now);
        if wanted && self.requests.is_hot(fetch.hash, now) {
            if fetch.start.in_window {
                self.counters.add(Count::Fenced);
            } else {
                self.keep(Part::Hot, &fetch.key, fetch.hash, entry, fetch.start.generation);
            }
        }
        wanted
    }

    /// No owner could be asked, or the second one is this node: a load here, shared with all who need one.
    async fn load_instead(self: &Arc<Self>, fetch: &Fetch) -> Flown {
        let start = self.generations.start(fetch.hash, Instant::now());
        let boarded = self.board_load(&fetch.key, fetch.hash, start, &self.state.load())?;
        match boarded.waiter.wait(fetch.deadline).await {
            Ok(flown) => flown,
            Err(Lost::Deadline) => Err(GetError::DeadlineExceeded),
            Err(Lost::Flight) => Err(lost(&self.name)),
        }
    }
}
