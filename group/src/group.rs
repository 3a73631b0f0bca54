//! One group: the order of a Get and of a Remove, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ahash::RandomState;
use arc_swap::ArcSwap;
use groupcache_ring::Version;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::cache::{Cache, Half};
use crate::flight::{self, Boarded, Flights, Lost};
use crate::generation::{Bounds, Generations};
use crate::grants::Grants;
use crate::group::former::Formers;
use crate::group::load::lost;
use crate::group::peek::Resting;
use crate::group::state::State;
use crate::group::take_over::TakingOver;
use crate::hot::Requests;
use crate::loader::{LoadError, Loader};
use crate::peer::{NoPeers, Peers};
use crate::simulation::{self, Rule, off, watch};
use crate::stats::{Count, Counters, Ending, Sizes, Stats};
use crate::sync::Mutex;
use crate::value::{Entry, Key, Outcome};
use crate::view::{Place, View};

mod fetch;
mod fetch_many;
mod former;
mod held;
mod keep;
mod load;
mod load_many;
mod many;
mod peek;
mod purge;
mod refresh;
mod remove;
mod set;
mod settings;
mod stale;
mod state;
mod take_over;

pub use remove::{NodeFailure, RemoveError};
pub use set::SetError;
pub use settings::{AbandonedLoads, QuorumLoss, Settings};

pub use crate::cache::StoreKind;

/// Loads of one group in flight at this node, and as many fetches: a task of a few kilobytes each. Beyond, callers are told to come back.
const MOST_FLIGHTS: usize = 16_384;

/// When to come back after a flight was refused.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Who asks: a client's Get may be fetched from the owner, a peer's is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An application.
    Client,
    /// Another node, which takes us for the owner. Never forwarded.
    Peer,
}

/// Where an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This node's main cache.
    Main,
    /// This node's hot cache.
    Hot,
    /// Another node.
    Peer,
    /// The loader, called by this node.
    Loader,
    /// A cache of this node or of the owner, and its time is up: it is being refreshed, or the loader fails.
    Stale,
}

/// The answer of a Get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The entry: a value, or "no such key".
    pub entry: Entry,
    /// Where it was found.
    pub source: Source,
    /// False if a peer that asked may not keep a copy.
    pub keep: bool,
}

/// Why a Get gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GetError {
    /// The node knows no membership yet.
    #[error("this node has not been told its membership yet; try another node")]
    NotReady,
    /// The loader failed or is overloaded, here or at the owner. Final.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The caller's time is up.
    #[error("the deadline passed before the key was answered")]
    DeadlineExceeded,
}

/// What a flight ends with.
type Flown = Result<Answer, GetError>;
type Pilot = flight::Pilot<Flown>;

/// Which cache an entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Main,
    Hot,
}

/// One group at one node. Cheap to share behind an `Arc`.
pub struct Group {
    name: Arc<str>,
    state: ArcSwap<State>,
    /// Held by who makes a new state of the present one.
    change: Mutex<()>,
    adopted: watch::Sender<Version>,
    generations: Generations,
    requests: Requests,
    loads: Arc<Flights<Flown>>,
    fetches: Arc<Flights<Flown>>,
    removes: Arc<Semaphore>,
    refreshes: Arc<Semaphore>,
    /// See [`Group::keys_for`].
    lists: Arc<Semaphore>,
    resting: Resting,
    taking_over: TakingOver,
    counters: Counters,
    /// Evictions from caches that are no more.
    former_evictions: AtomicU64,
    peers: Arc<dyn Peers>,
    grants: Arc<Grants>,
    hasher: RandomState,
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Group {
    /// An empty group that reaches other nodes through `peers`. It answers from its first [`Group::adopt`] on.
    #[must_use]
    pub fn new(
        settings: Settings,
        loader: Arc<dyn Loader>,
        peers: Arc<dyn Peers>,
        grants: Arc<Grants>,
    ) -> Arc<Self> {
        let now = grants.clock().now();
        let cache = Arc::new(Cache::new(settings.max_bytes, settings.hot_percent, settings.store));
        let bounds = Bounds { window: settings.purge_timeout, lag: settings.source_lag, floor: None };
        Arc::new(Group {
            name: settings.name.clone(),
            generations: Generations::new(now, bounds),
            state: ArcSwap::from_pointee(State {
                settings: Arc::new(settings),
                loader,
                view: None,
                cache,
                grants: grants.clone(),
                formers: Formers::default(),
            }),
            change: Mutex::new(()),
            adopted: watch::Sender::new(Version::PROVISIONAL),
            requests: Requests::new(now),
            loads: Arc::new(Flights::new(MOST_FLIGHTS)),
            fetches: Arc::new(Flights::new(MOST_FLIGHTS)),
            removes: Arc::new(Semaphore::new(remove::MOST_REMOVES)),
            refreshes: Arc::new(Semaphore::new(refresh::MOST_REFRESHES)),
            lists: Arc::new(Semaphore::new(held::LISTS_AT_ONCE)),
            resting: Resting::default(),
            taking_over: TakingOver::default(),
            counters: Counters::new(),
            former_evictions: AtomicU64::new(0),
            peers,
            grants,
            hasher: simulation::random_state(),
        })
    }

    /// A group of a process that is its own whole cluster: it owns every key.
    #[must_use]
    pub fn alone(settings: Settings, loader: Arc<dyn Loader>) -> Arc<Self> {
        let group = Self::new(settings, loader, Arc::new(NoPeers), Grants::unneeded());
        match View::alone("alone") {
            Ok(view) => group.adopt(Arc::new(view)),
            Err(faults) => unreachable!("a membership of one fixed name has no faults: {faults:?}"),
        }
        group
    }

    /// Answers one key by `deadline`.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(
        self: &Arc<Self>,
        key: Key,
        origin: Origin,
        deadline: Instant,
    ) -> Result<Answer, GetError> {
        if let Some(answer) = self.cached(key.as_bytes(), origin) {
            return Ok(answer);
        }
        if self.waited_for_grants(&key, origin, deadline).await
            && let Some(answer) = self.cached(key.as_bytes(), origin)
        {
            return Ok(answer);
        }
        let begin = if origin == Origin::Peer { Count::PeerMisses } else { Count::Misses };
        let ending = Ending::new(&self.counters, begin);
        let (result, end) = Box::pin(self.miss(&key, origin, deadline)).await;
        self.ended(ending, result, end)
    }

    /// The answer of a Get if it is here: no waiting, no allocation, no copy, no lock of ours. `None` counts nothing; follow it with [`Group::get`],
    /// which also answers what is stale, and refreshes what is due for it.
    #[must_use]
    pub fn cached(&self, key: &[u8], origin: Origin) -> Option<Answer> {
        let state = self.state.load();
        let (entry, source) = state.look(key, origin, self.grants.clock().now())?;
        self.counters.add(match (source, origin) {
            (Source::Hot, _) => Count::HotHits,
            (_, Origin::Peer) => Count::PeerMainHits,
            (_, Origin::Client) => Count::MainHits,
        });
        if entry.outcome == Outcome::NotFound {
            self.counters.add(Count::NotFound);
        }
        Some(Answer { entry, source, keep: true })
    }

    /// A Get that is not answered at first sight: waits for the key's flight, its own or another's, until its own deadline.
    async fn miss(self: &Arc<Self>, key: &Key, origin: Origin, deadline: Instant) -> (Flown, Count) {
        if deadline <= Instant::now() {
            return (Err(GetError::DeadlineExceeded), Count::DeadlineExceeded);
        }
        let now = self.grants.clock().now();
        if let Some(answer) = self.aged(key, origin, now) {
            let end = end_of(&answer);
            return (Ok(answer), end);
        }
        simulation::leads(deadline);
        match self.board(key, origin) {
            Ok(boarded) => self.land(boarded, deadline).await,
            Err(error) => self.refused(key, origin, error),
        }
    }

    /// A Get that boarded no flight, and how it ended: with a stale value, if it may.
    fn refused(&self, key: &Key, origin: Origin, error: GetError) -> (Flown, Count) {
        if error == GetError::NotReady {
            return (Err(error), Count::NotReady);
        }
        let now = self.grants.clock().now();
        let kept = self.kept(key, self.hasher.hash_one(key), origin, now);
        let flown = self.cover(&kept, error, now);
        let end = end_of_flight(&flown);
        (flown, end)
    }

    /// What a flight gives one who waits for it until a deadline, and how that Get ended.
    async fn land(&self, boarded: Boarded<Flown>, deadline: Instant) -> (Flown, Count) {
        let joined = boarded.joined;
        match boarded.waiter.wait(deadline).await {
            Err(Lost::Deadline) => (Err(GetError::DeadlineExceeded), Count::DeadlineExceeded),
            Err(Lost::Flight) => (Err(lost(&self.name)), if joined { Count::Joined } else { Count::Failed }),
            Ok(flown) if joined => (flown, Count::Joined),
            Ok(flown) => {
                let end = end_of_flight(&flown);
                (flown, end)
            }
        }
    }

    /// Counts how a Get ended that was not answered at first sight.
    fn ended(&self, ending: Ending<'_>, result: Flown, end: Count) -> Flown {
        if matches!(&result, Ok(answer) if answer.entry.outcome == Outcome::NotFound) {
            self.counters.add(Count::NotFound);
        }
        ending.at(end);
        result
    }

    /// Boards the key's load if this node is to answer, else its fetch. A peer's Get is never forwarded, so nothing can go round in circles.
    fn board(self: &Arc<Self>, key: &Key, origin: Origin) -> Result<Boarded<Flown>, GetError> {
        let hash = self.hasher.hash_one(key);
        // The generation first, the view after it: see `sent`.
        let now = self.grants.clock().now();
        let start = self.generations.start(hash, now);
        let state = self.state.load_full();
        let view = state.view.clone().ok_or(GetError::NotReady)?;
        if !state.serves(now) {
            self.counters.add(Count::PassedThrough);
        }
        if origin == Origin::Peer && !off(Rule::ForwardOnce) || is_mine(&view, key) {
            self.board_load(key, hash, start, &state)
        } else {
            self.board_fetch(key, hash, start, &state, view)
        }
    }

    /// What this group is.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.state.load().settings.clone()
    }

    /// The view in force.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.state.load().view.clone()
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        // A cache that is being replaced is counted as the present one or as a former one, not as both: counters never go back.
        let _change = self.change.lock();
        let state = self.state.load();
        let hot = state.cache.hot.as_ref().map_or(0, Half::evictions);
        let former = self.former_evictions.load(Ordering::Relaxed);
        Stats {
            evictions: former + state.cache.main.evictions() + hot,
            window_overflows: self.generations.overflows(),
            ..self.counters.read()
        }
    }

    /// What it holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        let cache = self.state.load().cache.clone();
        Sizes {
            main_entries: cache.main.entries(),
            main_bytes: cache.main.bytes(),
            hot_entries: cache.hot.as_ref().map_or(0, Half::entries),
            hot_bytes: cache.hot.as_ref().map_or(0, Half::bytes),
            flights: (self.loads.running() + self.fetches.running()) as u64,
        }
    }

    /// The answer where no more flights may start.
    fn shed(&self, what: &str) -> GetError {
        self.counters.add(Count::LoadsShed);
        let message = format!("group {}: {MOST_FLIGHTS} {what} are in flight at this node", self.name);
        GetError::Load(LoadError::Overloaded { message: message.into(), retry_after: RETRY_AFTER })
    }
}

/// True if this node owns the key, or nobody does.
fn is_mine(view: &View, key: &Key) -> bool {
    !matches!(view.owner(key.as_bytes()), Some(Place::Peer(_)))
}

/// How a Get ended that was answered, but not at first sight and not by another's flight.
fn end_of(answer: &Answer) -> Count {
    match answer.source {
        Source::Main => Count::LateMainHits,
        Source::Hot => Count::LateHotHits,
        Source::Stale => Count::StaleHits,
        Source::Peer => Count::Fetches,
        Source::Loader => Count::Loaded,
    }
}

/// How a Get ended that started its flight.
fn end_of_flight(flown: &Flown) -> Count {
    match flown {
        Ok(answer) => end_of(answer),
        Err(GetError::NotReady) => Count::NotReady,
        Err(GetError::Load(_)) => Count::Failed,
        Err(GetError::DeadlineExceeded) => Count::DeadlineExceeded,
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod schedules;
#[cfg(test)]
mod tests;
