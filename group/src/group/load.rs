//! This node answers: one load, and whether its result is kept.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use crate::expiry::{NON_OWNER_TTL, after, expires};
use crate::flight::{Boarded, Company};
use crate::generation::Start;
use crate::group::state::State;
use crate::group::{
    AbandonedLoads, Answer, Flown, GetError, Group, Origin, Part, Pilot, Settings, Source, is_mine,
};
use crate::loader::{LoadError, LoadRequest, Loaded, Loader};
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::{Entry, Key, Outcome};

/// The gRPC status codes that say what went wrong with a load: DEADLINE_EXCEEDED and INTERNAL.
const CODE_DEADLINE: i32 = 4;
pub(super) const CODE_INTERNAL: i32 = 13;

/// What a load is to be kept by: known when it was sent.
pub(super) struct Sent {
    start: Start,
    at: Instant,
    /// False for a node that keeps nothing (K3).
    serves: bool,
    /// True if this node owns the key.
    mine: bool,
}

impl Group {
    /// Joins or starts the key's load. A node that may not keep lets nobody join what it starts (K3).
    pub(super) fn board_load(
        self: &Arc<Self>,
        key: &Key,
        hash: u64,
        start: Start,
        state: &State,
    ) -> Result<Boarded<Flown>, GetError> {
        self.board_load_after(key, hash, start, state, None)
    }

    /// The same, for who has a value whose load started at `older` and wants a newer one.
    pub(super) fn board_load_after(
        self: &Arc<Self>,
        key: &Key,
        hash: u64,
        start: Start,
        state: &State,
        older: Option<Instant>,
    ) -> Result<Boarded<Flown>, GetError> {
        let run = |pilot| {
            let (group, key) = (self.clone(), key.clone());
            async move { group.load(key, hash, pilot, older).await }
        };
        // Who may not serve copies still calls the loader once at a time: whoever joins a load that has not been sent gets an answer from after its call.
        let how = if state.serves(self.grants.clock().now()) { Company::Any } else { Company::Unsent };
        let how = if off(Rule::OneLoad) { Company::Nobody } else { how };
        let table = if off(Rule::TwoTables) { &self.fetches } else { &self.loads };
        table.board(key, hash, start, how, run).map_err(|_| self.shed("loads"))
    }

    async fn load(self: Arc<Self>, key: Key, hash: u64, pilot: Pilot, older: Option<Instant>) -> Flown {
        // Looked at again inside the flight: the one before it may have landed since.
        let now = self.grants.clock().now();
        let kept = self.kept(&key, hash, Origin::Peer, now);
        if let Some(answer) = kept.fresh(older, now) {
            return Ok(answer);
        }
        if let Some(answer) = self.peek_at_former_owners(&key, hash, &pilot).await {
            return Ok(answer);
        }
        // Not the whole state: a load may take long, and would hold a cache that is no longer in force.
        let (loader, settings) = {
            let state = self.state.load();
            (state.loader.clone(), state.settings.clone())
        };
        let loaded = self.call(&*loader, &key, hash, &pilot, &settings).await;
        self.loaded(&key, hash, loaded).or_else(|error| self.cover(&kept, error, self.grants.clock().now()))
    }

    /// Counts a load that has ended, and makes of it what is answered.
    pub(super) fn loaded(&self, key: &Key, hash: u64, loaded: Result<(Sent, Loaded), LoadError>) -> Flown {
        match loaded {
            Ok((sent, loaded)) => {
                self.counters.add(Count::Loads);
                Ok(self.settle(key, hash, &sent, loaded))
            }
            Err(error) => {
                let shed = matches!(error, LoadError::Overloaded { .. });
                self.counters.add(if shed { Count::LoadsShed } else { Count::LoadFailures });
                Err(GetError::Load(error))
            }
        }
    }

    /// Waits for the loader's turn and calls it; a panic in it is a failure like others.
    async fn call(
        &self,
        loader: &dyn Loader,
        key: &Key,
        hash: u64,
        pilot: &Pilot,
        settings: &Settings,
    ) -> Result<(Sent, Loaded), LoadError> {
        pilot.after_the_one_before().await;
        let timeout = settings.load_timeout;
        let deadline = after(Instant::now(), timeout);
        let request = LoadRequest { group: self.name.clone(), key: key.clone(), deadline };
        let turn = within(timeout, deadline, loader, async { loader.admit(&request).await }).await?;
        if !pilot.send(settings.abandoned_loads == AbandonedLoads::Finish) {
            return Err(failed(CODE_DEADLINE, format!("{}: nobody waits any more", loader.name())));
        }
        let sent = self.sent(key, hash);
        let load = async {
            pilot.calls_the_loader();
            loader.load(request).await
        };
        let loaded = within(timeout, deadline, loader, load).await?;
        drop(turn);
        Ok((sent, loaded))
    }

    /// Notes what holds as a load is sent: the generation first and the view after it, so that a view which forbids keeping and was adopted
    /// in between is either seen here or has raised the generation already (K1, K3).
    pub(super) fn sent(&self, key: &Key, hash: u64) -> Sent {
        let at = self.grants.clock().now();
        let start = self.generations.start(hash, at);
        let state = self.state.load();
        Sent {
            start,
            at,
            serves: state.serves(at),
            mine: state.view().is_some_and(|view| is_mine(view, key)),
        }
    }

    /// Makes an entry of what was loaded, and keeps it in main if it may be kept.
    fn settle(&self, key: &Key, hash: u64, sent: &Sent, loaded: Loaded) -> Answer {
        let settings = self.settings();
        let now = self.grants.clock().now();
        let by_group = match loaded.outcome {
            Outcome::Value(_) => settings.ttl,
            Outcome::NotFound => settings.negative_ttl,
        };
        let by_owner = (!sent.mine).then_some(NON_OWNER_TTL);
        let entry = Entry {
            expires: expires(now, [by_group, loaded.ttl, by_owner], hash),
            outcome: loaded.outcome,
            loaded: sent.at,
            source_version: loaded.version,
        };
        let forgettable = entry.outcome == Outcome::NotFound && settings.negative_ttl.is_none();
        let oversize = entry.value_bytes() > settings.max_value_bytes;
        if oversize {
            self.counters.add(Count::Oversize);
        }
        let wanted =
            (sent.serves || off(Rule::KeepWithout)) && !forgettable && !oversize && !entry.is_expired(now);
        let lags = wanted && sent.start.in_lag;
        if lags {
            self.counters.add(Count::Fenced);
        }
        let keep = wanted && !lags && self.keep(Part::Main, key, hash, &entry, sent.start.generation);
        Answer { entry, source: Source::Loader, keep }
    }
}

/// What a loader says by its deadline; silence and a panic are failures like others.
pub(super) async fn within<T>(
    timeout: Duration,
    deadline: Instant,
    loader: &dyn Loader,
    said: impl Future<Output = Result<T, LoadError>>,
) -> Result<T, LoadError> {
    match timeout_at(deadline, AssertUnwindSafe(said).catch_unwind()).await {
        Err(_) => Err(failed(CODE_DEADLINE, format!("{}: no answer within {timeout:?}", loader.name()))),
        Ok(Err(_)) => {
            Err(failed(CODE_INTERNAL, format!("{}: the loader panicked; see its log", loader.name())))
        }
        Ok(Ok(said)) => said,
    }
}

pub(super) fn failed(code: i32, message: String) -> LoadError {
    LoadError::Failed { code, message: message.into() }
}

/// The failure of a flight that ended without a result.
pub(super) fn lost(group: &str) -> GetError {
    GetError::Load(failed(
        CODE_INTERNAL,
        format!("group {group}: the call broke off inside this node; try again"),
    ))
}
