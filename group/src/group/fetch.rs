//! Another node answers: a fetch from the owner, then from the second owner, only then a load here.

use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::Member;
use tokio::time::{Instant, timeout_at};

use crate::expiry::after;
use crate::flight::{Boarded, Company, Lost};
use crate::generation::Start;
use crate::group::load::lost;
use crate::group::many::Wanted;
use crate::group::state::State;
use crate::group::{Answer, Flown, GetError, Group, Origin, Part, Source};
use crate::peer::{FetchOutcome, FetchRequest, PeerError};
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::{Entry, Key};
use crate::view::{Place, View};

/// What a fetch may take beyond the owner's load: so that the owner's own verdict on a slow loader still arrives.
pub(super) const FETCH_MARGIN: Duration = Duration::from_millis(200);

/// How many owners are asked before this node loads itself: the second coalesces for the whole cluster, a third would only cost time.
pub(super) const OWNERS_ASKED: usize = 2;

/// A fetch that is starting.
struct Fetch {
    wanted: Wanted,
    terms: Terms,
}

/// What holds for fetches as they start, not as they end. Not the whole state: a fetch may take long, and would hold a cache that is no longer in force.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) view: Arc<View>,
    pub(super) serves: bool,
    max_value_bytes: usize,
    /// True if it is to bring a newer copy of what is held and in use.
    refresh: bool,
    pub(super) deadline: Instant,
}

impl Terms {
    /// The terms of fetches that start now.
    pub(super) fn new(state: &State, view: Arc<View>) -> Self {
        let serves = state.serves(state.grants.clock().now());
        let deadline = after(Instant::now(), state.settings.load_timeout.saturating_add(FETCH_MARGIN));
        let max_value_bytes = state.settings.max_value_bytes;
        Terms { view, serves, max_value_bytes, refresh: false, deadline }
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
        self.requests.note(hash, state.grants.clock().now());
        let terms = Terms::new(state, view);
        let joinable = terms.serves && (!start.in_window || off(Rule::JoinInWindow));
        let fetch = Fetch { wanted: Wanted { key: key.clone(), hash, start }, terms };
        let group = self.clone();
        let run = |_| async move { group.fetch(fetch).await };
        let how = if joinable { Company::Any } else { Company::Nobody };
        self.fetches.board(key, hash, start, how, run).map_err(|_| self.shed("fetches"))
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
        let terms = Terms { refresh: true, ..Terms::new(state, view) };
        let fetch = Fetch { wanted: Wanted { key: key.clone(), hash, start }, terms };
        let group = self.clone();
        let run = |_| async move {
            let unreachable = || lost(&group.name);
            group.ask_owners(&fetch, 1).await.unwrap_or_else(|| Err(unreachable()))
        };
        self.fetches.board(key, hash, start, Company::Nobody, run).map_err(|_| self.shed("fetches"))
    }

    async fn fetch(self: Arc<Self>, fetch: Fetch) -> Flown {
        let now = self.grants.clock().now();
        let kept = self.kept(&fetch.wanted.key, fetch.wanted.hash, Origin::Client, now);
        // Looked at again inside the flight: the one before it may have landed since.
        if let Some(answer) = kept.fresh(None, now) {
            return Ok(answer);
        }
        let flown = match self.ask_owners(&fetch, OWNERS_ASKED).await {
            Some(flown) => flown,
            None => self.load_instead(&fetch.wanted, &fetch.terms).await,
        };
        flown.or_else(|error| self.cover(&kept, error, self.grants.clock().now()))
    }

    /// What the first of so many owners says that can be asked; `None`: none can, or it is this node's turn.
    async fn ask_owners(&self, fetch: &Fetch, count: usize) -> Option<Flown> {
        let Fetch { wanted, terms } = fetch;
        let count = if off(Rule::SecondOwner) { 1 } else { count };
        for (rank, place) in terms.view.ranked(wanted.key.as_bytes(), count).into_iter().enumerate() {
            let Place::Peer(owner) = place else { break };
            if let Some(flown) = self.ask(owner, rank, wanted, terms).await {
                return Some(flown);
            }
            self.counters.add(Count::FetchFailures);
        }
        None
    }

    /// What an owner says; `None` if it cannot say and the next one is to be asked.
    async fn ask(&self, owner: &Member, rank: usize, wanted: &Wanted, terms: &Terms) -> Option<Flown> {
        let request = FetchRequest {
            group: self.name.clone(),
            key: wanted.key.clone(),
            version: terms.view.version(),
            deadline: terms.deadline,
        };
        match timeout_at(terms.deadline, self.peers.fetch(owner, request)).await {
            Ok(Ok(fetched)) => self.heard(rank, wanted, terms, fetched.outcome),
            Ok(Err(error)) => self.unanswered(owner, &error),
            Err(_) => self.unanswered(owner, &PeerError::DeadlineExceeded),
        }
    }

    /// What an owner's word means; `None`: it is behind us in configuration, or we are behind it.
    pub(super) fn heard(
        &self,
        rank: usize,
        wanted: &Wanted,
        terms: &Terms,
        outcome: FetchOutcome,
    ) -> Option<Flown> {
        match outcome {
            FetchOutcome::Entry { entry, keep } => {
                if rank > 0 {
                    self.counters.add(Count::SecondOwnerFetches);
                }
                let now = self.grants.clock().now();
                // What might be kept and has no time left is what the owner itself answers stale.
                let stale = keep && entry.is_expired(now);
                let source = if stale { Source::Stale } else { Source::Peer };
                let keep = keep && self.keep_hot(wanted, terms, &entry, now);
                Some(Ok(Answer { entry, source, keep }))
            }
            FetchOutcome::LoadError(error) => Some(Err(GetError::Load(error))),
            FetchOutcome::UnknownGroup => None,
        }
    }

    /// What an owner's silence means; `None`: the next one is to be asked.
    pub(super) fn unanswered(&self, owner: &Member, error: &PeerError) -> Option<Flown> {
        match error {
            PeerError::DeadlineExceeded => Some(Err(GetError::DeadlineExceeded)),
            PeerError::Unreachable(_) | PeerError::Refused(_) => {
                tracing::debug!(group = %self.name, owner = owner.name, %error, "owner gave no answer");
                None
            }
        }
    }

    /// Keeps a copy of what an owner said, if the key is asked for often enough; true if a copy might be kept.
    fn keep_hot(&self, wanted: &Wanted, terms: &Terms, entry: &Entry, now: Instant) -> bool {
        let fits = entry.value_bytes() <= terms.max_value_bytes;
        let keepable = terms.serves && fits && !entry.is_expired(now);
        if keepable && (terms.refresh || self.requests.is_hot(wanted.hash, now)) {
            if wanted.start.in_window {
                self.counters.add(Count::Fenced);
            } else {
                self.keep(Part::Hot, &wanted.key, wanted.hash, entry, wanted.start.generation);
            }
        }
        keepable
    }

    /// No owner could be asked, or the second one is this node: a load here, shared with all who need one.
    async fn load_instead(self: &Arc<Self>, wanted: &Wanted, terms: &Terms) -> Flown {
        let start = self.generations.start(wanted.hash, self.grants.clock().now());
        let boarded = self.board_load(&wanted.key, wanted.hash, start, &self.state.load())?;
        self.landed(boarded, terms.deadline).await
    }

    /// What a load gives a fetch that waits for it.
    pub(super) async fn landed(&self, boarded: Boarded<Flown>, deadline: Instant) -> Flown {
        match boarded.waiter.wait(deadline).await {
            Ok(flown) => flown,
            Err(Lost::Deadline) => Err(GetError::DeadlineExceeded),
            Err(Lost::Flight) => Err(lost(&self.name)),
        }
    }
}
