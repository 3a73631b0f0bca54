//! What may change while a group serves: its view, settings and loader, and with them its caches.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::cache::{Cache, Half};
use crate::generation::Generations;
use crate::grants::Grants;
use crate::group::former::Formers;
use crate::group::settings::QuorumLoss;
use crate::group::{Group, Origin, Settings, Source, is_mine};
use crate::loader::Loader;
use crate::simulation::{Rule, WORKS_ASIDE, off};
use crate::stats::Count;
use crate::value::{Entry, Key};
use crate::view::View;

/// What may change while the group serves, swapped as a whole: a hit reads it once.
#[derive(Clone)]
pub(super) struct State {
    pub(super) settings: Arc<Settings>,
    pub(super) loader: Arc<dyn Loader>,
    pub(super) view: Option<Arc<View>>,
    pub(super) cache: Arc<Cache>,
    pub(super) grants: Arc<Grants>,
    /// The rings before that of the view.
    pub(super) formers: Formers,
}

impl State {
    pub(super) fn view(&self) -> Option<&View> {
        self.view.as_deref()
    }

    /// True if this node may keep and answer copies at `now` (G1, K3, G6).
    pub(super) fn serves(&self, now: Instant) -> bool {
        let granted = self.grants.serves(now) || self.settings.on_quorum_loss == QuorumLoss::ServeStale;
        granted && self.view.as_ref().is_some_and(|view| view.may_keep())
    }

    /// The key's entry if it is a plain hit: main first, and hot only for clients (K6).
    #[inline]
    pub(super) fn look(&self, key: &[u8], origin: Origin, now: Instant) -> Option<(Entry, Source)> {
        if !self.serves(now) {
            return None;
        }
        let second = self.grants.second(now);
        if let Some(entry) = self.cache.main.get(key, second, now) {
            return Some((entry, Source::Main));
        }
        let hot = self.cache.hot.as_ref().filter(|_| origin == Origin::Client || off(Rule::HotIsALeaf))?;
        hot.get(key, second, now).map(|entry| (entry, Source::Hot))
    }
}

impl Group {
    /// Puts a view in force. One older than the present one is passed over.
    ///
    /// With a view in which this node is Joining or no member it drops what it holds at once (G2).
    pub fn adopt(self: &Arc<Self>, view: Arc<View>) {
        let _change = self.change.lock();
        let state = self.state.load_full();
        if state.view().is_some_and(|present| view.version() < present.version()) {
            return;
        }
        let (version, lapse) = (view.version(), !view.may_keep());
        let cache = state.cache.clone();
        let followed = state.formers.followed_by(state.view(), &view, self.grants.clock().now());
        let moved = followed.is_some();
        let formers = followed.unwrap_or_else(|| state.formers.clone());
        self.replace(state, |state| State { view: Some(view), cache, formers, ..state });
        if lapse {
            self.drop_everything(Generations::raise_all);
        }
        if moved {
            self.begin_taking_over();
        }
        self.adopted.send_replace(version);
    }

    /// Waits, for a moment, for the grants under a view that has just come into force, if this node is to answer; true if they have come.
    ///
    /// As if the Get had been called later: whatever it looks at is looked at after the wait, and by the clock of then (G1).
    pub(super) async fn waited_for_grants(&self, key: &Key, origin: Origin, deadline: Instant) -> bool {
        let would_load = || {
            let state = self.state.load();
            let answers = |view: &View| origin == Origin::Peer || is_mine(view, key);
            !state.serves(self.grants.clock().now()) && state.view().is_some_and(answers)
        };
        self.grants.are_awaited() && would_load() && self.grants.wait_after_change(deadline).await
    }

    /// Drops every copy, and keeps nothing of what is on its way (K5). A group that serves stale copies while it is cut off keeps them.
    pub(crate) fn lapse(&self) {
        let _change = self.change.lock();
        let state = self.state.load();
        let stays = state.settings.on_quorum_loss == QuorumLoss::ServeStale
            && state.view().is_some_and(View::may_keep);
        drop(state);
        if !stays && !off(Rule::Lapse) {
            self.drop_everything(Generations::raise_all);
            self.counters.add(Count::Lapses);
        }
    }

    /// Raises all generations first: then nothing older can be kept, and what is kept after the caches are swapped is newer. Who calls holds `change`.
    pub(super) fn drop_everything(&self, raise: impl FnOnce(&Generations)) {
        raise(&self.generations);
        let state = self.state.load_full();
        let cache = self.empty_cache(&state, &state.settings);
        self.replace(state, |state| State { cache, ..state });
        self.loads.forget_all();
        self.fetches.forget_all();
    }

    /// Changes settings and loader while it serves; the name stays. The next Get and the next load see them.
    ///
    /// Entries stay, with the expiry they were given, unless the budget or the store changes: a store cannot be resized, and filling a second one from the first
    /// would hold both budgets at once, so it starts empty.
    pub fn configure(&self, settings: Settings, loader: Arc<dyn Loader>) {
        let _change = self.change.lock();
        let state = self.state.load_full();
        let budget = |settings: &Settings| (settings.max_bytes, settings.hot_percent, settings.store);
        let same = budget(&settings) == budget(&state.settings);
        let cache = if same { state.cache.clone() } else { self.empty_cache(&state, &settings) };
        let settings = Arc::new(Settings { name: self.name.clone(), ..settings });
        self.replace(state, |state| State { settings, loader, cache, ..state });
    }

    /// Puts a state in force. To free a full cache takes long: where there is a runtime, a thread that may block does it.
    fn replace(&self, former: Arc<State>, change: impl FnOnce(State) -> State) {
        let new = change(State::clone(&former));
        let emptied = !Arc::ptr_eq(&former.cache, &new.cache);
        self.state.store(Arc::new(new));
        if emptied
            && WORKS_ASIDE
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn_blocking(move || drop(former));
        }
    }

    fn empty_cache(&self, state: &State, settings: &Settings) -> Arc<Cache> {
        let hot = state.cache.hot.as_ref().map_or(0, Half::evictions);
        self.former_evictions.fetch_add(state.cache.main.evictions() + hot, Ordering::Relaxed);
        Arc::new(Cache::new(settings.max_bytes, settings.hot_percent, settings.store))
    }
}
