//! Another node answers: a fetch from the owner, then from the second owner, only then a load here.

use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::Member;
use tokio::time::{Instant, timeout_at};

use crate::expiry::after;
use crate::flight::{Boarded, Lost};
use crate::generation::Start;
use crate::group::load::lost;
use crate::group::state::State;
use crate::group::{Answer, Flown, GetError, Group, Origin, Part, Source};
use crate::peer::{FetchOutcome, FetchRequest, PeerError};
use crate::stats::Count;
use crate::value::{Entry, Key};
use crate::view::{Place, View};

/// What a fetch may take beyond the owner's load: so that the owner's own verdict on a slow loader still arrives.
pub(super) const FETCH_MARGIN: Duration = Duration::from_millis(200);

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
    /// True if it is to bring a newer copy of what is held and in use.
    refresh: bool,
}

impl Fetch {
    fn new(key: &Key, hash: u64, start: Start, state: &State, view: Arc<View>, now: Instant) -> Self {
        let settings = &state.settings;
        Fetch {
            key: key.clone(),
            hash,
            start,
            view,
            serves: state.serves(),
            max_value_bytes: settings.max_value_bytes,
            deadline: after(now, settings.load_timeout.saturating_add(FETCH_MARGIN)),
            refresh: false,
        }
    }
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
        let fetch = Fetch::new(key, hash, start, state, view, now);
        let joinable = fetch.serves && !start.in_window;
        let group = self.clone();
        let run = |_| async move { group.fetch(fetch).await };
        self.fetches.board(key, hash, start, joinable, run).map_err(|_| self.shed("fetches"))
    }

    /// Starts a fetch from the owner alone, for a newer copy of what is held. Nobody joins it: who needs the value may not be left without a load.
    pub(super) fn board_refetch(
        self: &Arc<Self>,
        key: &Key,
        hash: u64,
        start: Start,
        state: &State,
        view: Arc<View>,
    ) -> Result<Boarded<Flown>, GetError> {
        let fetch = Fetch { refresh: true, ..Fetch::new(key, hash, start, state, view, Instant::now()) };
        let group = self.clone();
        let run = |_| async move {
            let unreachable = || lost(&group.name);
            group.ask_owners(&fetch, 1).await.unwrap_or_else(|| Err(unreachable()))
        };
        self.fetches.board(key, hash, start, false, run).map_err(|_| self.shed("fetches"))
    }

    async fn fetch(self: Arc<Self>, fetch: Fetch) -> Flown {
        // Looked at again inside the flight: the one before it may have landed since.
        let now = Instant::now();
        let kept = self.kept(&fetch.key, fetch.hash, Origin::Client, now);
        if let Some(answer) = kept.fresh(None, now) {
            return Ok(answer);
        }
        let flown = match self.ask_owners(&fetch, OWNERS_ASKED).await {
            Some(flown) => flown,
            None => self.load_instead(&fetch).await,
        };
        flown.or_else(|error| self.cover(&kept, error, Instant::now()))
    }

    /// What the first of so many owners says that can be asked; `None`: none can, or it is this node's turn.
    async fn ask_owners(&self, fetch: &Fetch, count: usize) -> Option<Flown> {
        for (rank, place) in fetch.view.ranked(fetch.key.as_bytes(), count).into_iter().enumerate() {
            let Place::Peer(owner) = place else { break };
            match self.ask(owner, fetch).await {
                Some(Ok((entry, keep))) => {
                    if rank > 0 {
                        self.counters.add(Count::SecondOwnerFetches);
                    }
                    let now = Instant::now();
                    // What might be kept and has no time left is what the owner itself answers stale.
                    let stale = keep && entry.is_expired(now);
                    let source = if stale { Source::Stale } else { Source::Peer };
                    let keep = keep && self.keep_hot(fetch, &entry, now);
                    return Some(Ok(Answer { entry, source, keep }));
                }
                Some(Err(final_error)) => return Some(Err(final_error)),
                None => self.counters.add(Count::FetchFailures),
            }
        }
        None
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
    fn keep_hot(&self, fetch: &Fetch, entry: &Entry, now: Instant) -> bool {
        let fits = entry.value_bytes() <= fetch.max_value_bytes;
        let wanted = fetch.serves && fits && !entry.is_expired(now);
        if wanted && (fetch.refresh || self.requests.is_hot(fetch.hash, now)) {
            if fetch.start.in_window {
                self.counters.add(Count::Fenced);
            } else {
                self.keep(Part::Hot, &fetch.key, fetch.hash, entry, fetch.start.generation, now);
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
