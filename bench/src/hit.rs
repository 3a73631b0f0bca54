//! A Get that is in the cache: a whole [`Group`] beside the raw stores, with the same keys, values and hasher.
//!
//! The difference to the group's own store is what our order of a Get costs: the view, expiry, the counters, and a larger entry.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::BoxFuture;
use groupcache_group::group::{Group, Origin, Settings, Source};
use groupcache_group::groups::Groups;
use groupcache_group::loader::{FnLoader, Loaded};
use groupcache_group::peer::{
    FetchManyRequest, FetchRequest, Fetched, FetchedMany, PeerError, Peers, PurgeAck, PurgeRequest,
};
use groupcache_group::value::Key;
use groupcache_group::view::View;
use groupcache_ring::{Member, Snapshot, Version};
use moka::policy::EvictionPolicy;
use quick_cache::sync::DefaultLifecycle;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::rounds::{Contestant, Figure, measure};

/// Bytes of each value: a small record.
const VALUE_BYTES: usize = 128;

/// Budget of each cache, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The step from one key to the next: a prime, so that all keys come up, and neighbours in memory do not follow each other.
const STRIDE: usize = 7_919;

/// Measures all of them with so many keys and threads, in turn; the first is what the others are compared with.
/// All keys fit with room to spare, so that every Get is a hit.
///
/// # Errors
/// If the group does not answer, or answers from elsewhere than its main cache: then there is nothing to measure.
pub fn run(keys: usize, threads: usize, rounds: usize, operations: usize) -> anyhow::Result<Vec<Figure>> {
    let keys: Vec<Bytes> = (0..keys).map(|n| Bytes::from(format!("user:{n:012}"))).collect();
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let quick = raw_quick(&keys, &value);
    let moka = raw_moka(&keys, &value);

    let ours: Vec<Key> = keys.iter().map(|key| Key::new(key.clone(), 1_024)).collect::<Result<_, _>>()?;
    // A Get belongs on a runtime, but a hit never waits: one that is only entered adds nothing to the time.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let for_ever = runtime.block_on(filled_group(&ours, &value, None))?;
    let for_an_hour = runtime.block_on(filled_group(&ours, &value, Some(Duration::from_secs(3_600))))?;

    let born = Instant::now();
    let contestants = [
        contestant("raw quick_cache, get", keys.len(), |at| quick.get(&*keys[at]).is_some()),
        contestant("raw moka, get", keys.len(), |at| moka.get(&*keys[at]).is_some()),
        contestant("the clock alone", keys.len(), |_| Instant::now() > born),
        contestant("Group::cached", keys.len(), |at| for_ever.cached(&keys[at], Origin::Client).is_some()),
        contestant("Group::cached, with a ttl", keys.len(), |at| {
            for_an_hour.cached(&keys[at], Origin::Client).is_some()
        }),
        Contestant {
            name: "Group::get".to_owned(),
            work: Box::new(|thread, operations| gets(&runtime, &for_ever, &ours, thread, operations)),
        },
        Contestant {
            name: "Group::get, with a ttl".to_owned(),
            work: Box::new(|thread, operations| gets(&runtime, &for_an_hour, &ours, thread, operations)),
        },
    ];
    Ok(measure(&contestants, threads, rounds, operations))
}

type RawQuick = quick_cache::sync::Cache<Bytes, Bytes, ByBytes, RandomState>;

/// Weighs an entry of the raw store as simply as can be.
#[derive(Clone)]
struct ByBytes;

impl quick_cache::Weighter<Bytes, Bytes> for ByBytes {
    fn weight(&self, key: &Bytes, value: &Bytes) -> u64 {
        (key.len() + value.len()) as u64
    }
}

fn raw_quick(keys: &[Bytes], value: &Bytes) -> RawQuick {
    let store =
        RawQuick::with(keys.len(), MAX_BYTES, ByBytes, RandomState::new(), DefaultLifecycle::default());
    for key in keys {
        store.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }
    store
}

fn raw_moka(keys: &[Bytes], value: &Bytes) -> moka::sync::Cache<Bytes, Bytes, RandomState> {
    let store = moka::sync::Cache::builder()
        .max_capacity(MAX_BYTES)
        .weigher(|key: &Bytes, value: &Bytes| u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX))
        .eviction_policy(EvictionPolicy::lru())
        .build_with_hasher(RandomState::new());
    for key in keys {
        store.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    }
    store
}

/// One that looks a key up, and says whether it was there.
fn contestant<'a>(name: &str, keys: usize, look: impl Fn(usize) -> bool + Sync + 'a) -> Contestant<'a> {
    Contestant {
        name: name.to_owned(),
        work: Box::new(move |thread, operations| {
            let found =
                (0..operations).filter(|operation| black_box(look(place(thread, *operation, keys)))).count();
            assert_eq!(found, operations, "every key is there");
        }),
    }
}

fn place(thread: usize, operation: usize, keys: usize) -> usize {
    (thread * keys / 2 + operation * STRIDE) % keys
}

fn gets(runtime: &Runtime, group: &Arc<Group>, keys: &[Key], thread: usize, operations: usize) {
    let deadline = Instant::now() + Duration::from_secs(3_600);
    runtime.block_on(async {
        for operation in 0..operations {
            let key = keys[place(thread, operation, keys.len())].clone();
            black_box(group.get(key, Origin::Client, deadline).await.is_ok());
        }
    });
}

/// A group of a cluster of one, which holds every key.
async fn filled_group(keys: &[Key], value: &Bytes, ttl: Option<Duration>) -> anyhow::Result<Arc<Group>> {
    let groups = Groups::new(Arc::new(Nobody));
    let loaded = value.clone();
    let loader = FnLoader::new("bench", move |_| {
        let value = loaded.clone();
        async move { Ok(Loaded::value(value)) }
    });
    groups.configure(vec![(settings(ttl), Arc::new(loader))]);
    let version = Version::new(1, 1);
    let members = vec![Member::active("cache-0", "127.0.0.1:8081")];
    let snapshot = Snapshot::new("bench".to_owned(), version, version, Vec::new(), members)
        .map_err(|faults| anyhow::anyhow!("the membership is refused: {faults:?}"))?;
    groups.adopt(Arc::new(View::new("cache-0", Arc::new(snapshot))));
    let group = groups.get("bench").context("the group that was configured is not there")?;

    let deadline = Instant::now() + Duration::from_secs(60);
    for key in keys {
        group.get(key.clone(), Origin::Client, deadline).await.context("a load failed")?;
    }
    for key in keys {
        let answer = group.get(key.clone(), Origin::Client, deadline).await.context("a hit failed")?;
        ensure!(
            answer.source == Source::Main,
            "a Get of {key:?} was no hit but came from {:?}",
            answer.source
        );
    }
    Ok(group)
}

fn settings(ttl: Option<Duration>) -> Settings {
    Settings { ttl, ..Settings::new("bench", MAX_BYTES) }
}

/// The other nodes of a cluster of one.
struct Nobody;

impl Peers for Nobody {
    fn fetch(&self, peer: &Member, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        let reason = format!("there is no {}", peer.name);
        Box::pin(async move { Err(PeerError::Unreachable(reason.into())) })
    }

    fn purge(&self, peer: &Member, _: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        let reason = format!("there is no {}", peer.name);
        Box::pin(async move { Err(PeerError::Unreachable(reason.into())) })
    }

    fn fetch_many(
        &self,
        peer: &Member,
        _: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        let reason = format!("there is no {}", peer.name);
        Box::pin(async move { Err(PeerError::Unreachable(reason.into())) })
    }
}
