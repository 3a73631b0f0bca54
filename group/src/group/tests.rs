//! Cache and fence against a model: a plain map, and for each result whether its key was purged.

use std::collections::HashMap;

use futures::future::BoxFuture;
use groupcache_ring::Member;
use proptest::prelude::*;

use super::*;
use crate::generation::Start;
use crate::loader::{FnLoader, Loaded};
use crate::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, FetchManyRequest, FetchRequest, Fetched, FetchedMany,
    KeysHeld, KeysRequest, PeekManyRequest, PeekRequest, Peeked, PeekedMany, PeerError, PurgeAck,
    PurgeRequest, Purged, StoreAck, StoreRequest,
};

#[derive(Clone, Debug)]
enum Step {
    Starts(u8),
    /// The result that started so many steps ago lands.
    Lands(usize),
    Purges(u8),
    PurgesMany,
    /// A view without this node, then one with it again.
    Lapses,
    Waits(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Starts),
        4 => (0..8usize).prop_map(Step::Lands),
        3 => (0..6u8).prop_map(Step::Purges),
        1 => Just(Step::PurgesMany),
        1 => Just(Step::Lapses),
        1 => (0..200u8).prop_map(Step::Waits),
    ]
}

struct OnItsWay {
    key: u8,
    start: Start,
    value: u32,
    /// True once its key was purged: it must not be kept.
    overtaken: bool,
}

/// The group, and what it should hold.
struct Pair {
    group: Arc<Group>,
    held: HashMap<u8, u32>,
    on_their_way: Vec<OnItsWay>,
    values: u32,
    views: u64,
    now: Instant,
}

fn key(n: u8) -> Key {
    Key::new(vec![n + 1], 8).unwrap()
}

fn view(sequence: u64, me: &str) -> Arc<View> {
    let version = Version::new(2, sequence);
    let members = vec![groupcache_ring::Member::active("alone", "h:1")];
    let snapshot = groupcache_ring::Snapshot::new("u", version, version, Vec::new(), members).unwrap();
    Arc::new(View::new(me, Arc::new(snapshot)))
}

impl Pair {
    fn new() -> Self {
        let loader = Arc::new(FnLoader::new("none", |_| async { Ok(Loaded::not_found()) }));
        let group = Group::alone(Settings::new("g", 8 << 20), loader);
        let (held, on_their_way) = (HashMap::new(), Vec::new());
        Pair { group, held, on_their_way, values: 0, views: 0, now: Instant::now() }
    }

    fn purge(&self, keys: Vec<Key>) {
        self.group.purge(&Purged::Keys(keys.into()), Duration::from_millis(100), None);
    }

    fn hash(&self, n: u8) -> u64 {
        self.group.hasher.hash_one(key(n))
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Starts(n) => {
                self.values += 1;
                let start = self.group.generations.start(self.hash(n), self.now);
                self.on_their_way.push(OnItsWay { key: n, start, value: self.values, overtaken: false });
            }
            Step::Lands(at) => self.lands(at),
            Step::Purges(n) => {
                self.purge(vec![key(n)]);
                self.held.remove(&n);
                self.on_their_way.iter_mut().filter(|one| one.key == n).for_each(|one| one.overtaken = true);
            }
            Step::PurgesMany => {
                let others: Vec<_> = (0..200u8).map(|n| Key::new(vec![n, 0], 8).unwrap()).collect();
                self.purge(others);
            }
            Step::Lapses => {
                self.views += 2;
                self.group.adopt(view(self.views, "stranger"));
                self.group.adopt(view(self.views + 1, "alone"));
                self.held.clear();
                self.on_their_way.iter_mut().for_each(|one| one.overtaken = true);
            }
            Step::Waits(ms) => self.now += Duration::from_millis(ms.into()),
        }
    }

    fn lands(&mut self, at: usize) {
        if at >= self.on_their_way.len() {
            return;
        }
        let one = self.on_their_way.remove(at);
        let outcome = Outcome::Value(one.value.to_le_bytes().to_vec().into());
        let entry = Entry { outcome, loaded: self.now, expires: None, source_version: None };
        let hash = self.hash(one.key);
        let kept = self.group.keep(Part::Main, &key(one.key), hash, &entry, one.start.generation);
        assert_eq!(kept, !one.overtaken);
        if kept {
            self.held.insert(one.key, one.value);
        }
    }

    fn check(&self) {
        for n in 0..6 {
            let found =
                self.group.cached(key(n).as_bytes(), Origin::Client).map(|answer| answer.entry.outcome);
            let should = self.held.get(&n).map(|value| Outcome::Value(value.to_le_bytes().to_vec().into()));
            assert_eq!(found, should, "key {n}");
        }
        assert_eq!(self.group.sizes().main_entries, self.held.len() as u64);
    }
}

/// Between a Get's look into the cache and its boarding, the flight before it may land.
#[tokio::test(start_paused = true)]
async fn a_flight_looks_again_before_it_loads_or_fetches() {
    let loader = Arc::new(FnLoader::new("none", |_| async { unreachable!("it is here already") }));
    let group = Group::alone(Settings::new("g", 8 << 20), loader);
    let key = key(0);
    let hash = group.hasher.hash_one(&key);
    let start = group.generations.start(hash, Instant::now());
    let entry =
        Entry { outcome: Outcome::NotFound, loaded: Instant::now(), expires: None, source_version: None };
    assert!(group.keep(Part::Main, &key, hash, &entry, start.generation));
    let state = group.state.load_full();
    let soon = Instant::now() + Duration::from_secs(1);
    let load = group.board_load(&key, hash, start, &state).unwrap();
    assert_eq!(load.waiter.wait(soon).await.unwrap().unwrap().source, Source::Main);
    let view = group.view().unwrap();
    let fetch = group.board_fetch(&key, hash, start, &state, view.clone()).unwrap();
    assert_eq!(fetch.waiter.wait(soon).await.unwrap().unwrap().source, Source::Main);
    // And as one of several keys.
    let wanted = || group.wanted(vec![key.clone(), Key::new("absent", 10).unwrap()]);
    let loads = group.board_loads(wanted(), &state);
    let other = Member::active("b", "h:1");
    let fetches = group.board_fetches(&other, wanted(), &state, &view);
    for boarded in [loads, fetches].map(|boarded| boarded.into_iter().next().unwrap().unwrap()) {
        assert_eq!(boarded.waiter.wait(soon).await.unwrap().unwrap().source, Source::Main);
    }
}

/// Peers that never answer.
struct Silent;

impl Peers for Silent {
    fn fetch(&self, _: &Member, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn purge(&self, _: &Member, _: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn store(&self, _: &Member, _: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn peek(&self, _: &Member, _: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn beat(&self, _: &Member, _: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn bar(&self, _: &Member, _: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn fetch_many(&self, _: &Member, _: FetchManyRequest) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn keys_of(&self, _: &Member, _: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>> {
        Box::pin(std::future::pending())
    }

    fn peek_many(&self, _: &Member, _: PeekManyRequest) -> BoxFuture<'_, Result<PeekedMany, PeerError>> {
        Box::pin(std::future::pending())
    }
}

/// A slow source and budgets that change would otherwise hold one cache after the other at the same time.
#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_does_not_keep_a_former_cache_alive() {
    let loader = Arc::new(FnLoader::new("slow", |_| std::future::pending()));
    let group = Group::new(Settings::new("g", 8 << 20), loader.clone(), Arc::new(Silent), Grants::unneeded());
    let version = Version::new(1, 1);
    let members = vec![Member::active("a", "h:1"), Member::active("b", "h:2")];
    let snapshot = groupcache_ring::Snapshot::new("u", version, version, Vec::new(), members).unwrap();
    group.adopt(Arc::new(View::new("a", Arc::new(snapshot))));
    let gets: Vec<_> = (0..20)
        .map(|n| {
            let group = group.clone();
            let deadline = Instant::now() + Duration::from_secs(60);
            tokio::spawn(async move { group.get(key(n), Origin::Client, deadline).await })
        })
        .collect();
    while group.sizes().flights < 20 {
        tokio::task::yield_now().await;
    }
    assert!(group.loads.running() > 0 && group.fetches.running() > 0, "some of either");
    let former = Arc::downgrade(&group.state.load().cache);
    group.configure(Settings::new("g", 4 << 20), loader);
    while former.strong_count() > 0 {
        assert!(!gets.iter().any(tokio::task::JoinHandle::is_finished), "held until the flights ended");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(group.sizes().flights, 20);
}

/// What an application may say that wants no limit.
#[tokio::test(start_paused = true)]
async fn a_time_beyond_the_clock_is_no_limit() {
    let loader = Arc::new(FnLoader::new("any", |_| async { Ok(Loaded::value("v")) }));
    let end = Duration::MAX;
    let settings = Settings { load_timeout: end, purge_timeout: end, ..Settings::new("g", 8 << 20) };
    let group = Group::new(settings, loader, Arc::new(NoPeers), Grants::unneeded());
    group.adopt(view(1, "alone"));
    let soon = Instant::now() + Duration::from_secs(1);
    assert!(group.get(key(0), Origin::Client, soon).await.is_ok());
    assert_eq!(group.remove(vec![key(0)], None, soon).await, Ok(()));
    // As no member, everything is fetched.
    group.adopt(view(2, "stranger"));
    assert!(group.get(key(0), Origin::Client, soon).await.is_ok());
}

/// A counter that goes back looks like a restart to whoever reads it.
#[test]
fn evictions_never_go_back_while_budgets_change() {
    let loader = Arc::new(FnLoader::new("none", |_| async { Ok(Loaded::not_found()) }));
    let small = |n: u64| Settings { hot_percent: 0, ..Settings::new("g", 8_192 + n % 2) };
    let group = Group::alone(small(0), loader.clone());
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..3_000 {
                for n in 0..40 {
                    let start = group.generations.start(n.into(), Instant::now());
                    let (outcome, loaded) = (Outcome::NotFound, Instant::now());
                    let entry = Entry { outcome, loaded, expires: None, source_version: None };
                    group.keep(Part::Main, &key(n), n.into(), &entry, start.generation);
                }
                group.configure(small(round), loader.clone());
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut seen = 0;
        while !over.load(Ordering::Relaxed) {
            let evictions = group.stats().evictions;
            assert!(evictions >= seen, "{evictions} after {seen}");
            seen = evictions;
        }
        assert!(seen > 1_000, "{seen}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_cache_holds_what_was_not_purged_since_it_started(steps in prop::collection::vec(step(), 1..120)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.apply(step);
            pair.check();
        }
    }
}
