//! A Get that is in the cache: a whole [`Group`] beside the raw store, moka, with the same keys and values.
//!
//! The difference of the two is what our order of a Get costs: the view, the generation, expiry, the counters.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::future::BoxFuture;
use groupcache_group::group::{Group, Origin, Settings, Source};
use groupcache_group::groups::Groups;
use groupcache_group::loader::{FnLoader, Loaded};
use groupcache_group::peer::{FetchRequest, Fetched, PeerError, Peers, PurgeAck, PurgeRequest};
use groupcache_group::value::Key;
use groupcache_group::view::View;
use groupcache_ring::{Member, Snapshot, Version};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::rounds::{Contestant, Figure, measure};

/// Keys in the cache. They fit with room to spare, so that every Get is a hit.
const KEYS: usize = 10_000;

/// Bytes of each value: a small record.
const VALUE_BYTES: usize = 128;

/// Budget of either cache, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The step from one key to the next: a prime, so that all keys come up, and neighbours in memory do not follow each other.
const STRIDE: usize = 7_919;

/// Measures both with so many threads, in turn.
///
/// # Errors
/// If the group does not answer, or answers from elsewhere than its main cache: then there is nothing to measure.
pub fn run(threads: usize, rounds: usize, operations: usize) -> anyhow::Result<Vec<Figure>> {
    let keys: Vec<Bytes> = (0..KEYS).map(|n| Bytes::from(format!("user:{n:012}"))).collect();
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);

    let raw: moka::sync::Cache<Bytes, Bytes> = moka::sync::Cache::builder()
        .max_capacity(MAX_BYTES)
        .weigher(|key: &Bytes, value: &Bytes| u32::try_from(key.len() + value.len()).unwrap_or(u32::MAX))
        .build();
    for key in &keys {
        raw.insert(key.clone(), value.clone());
    }
    let ours: Vec<Key> = keys.iter().map(|key| Key::new(key.clone(), 1_024)).collect::<Result<_, _>>()?;
    // A Get belongs on a runtime, but a hit never waits: one that is only entered adds nothing to the time.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let group = runtime.block_on(filled_group(&ours, &value))?;

    let contestants = [
        Contestant {
            name: "raw moka, get".to_owned(),
            work: Box::new(|thread, operations| {
                for operation in 0..operations {
                    black_box(raw.get(&keys[place(thread, operation)]));
                }
            }),
        },
        Contestant {
            name: "Group::get, a hit".to_owned(),
            work: Box::new(|thread, operations| hits(&runtime, &group, &ours, thread, operations)),
        },
    ];
    Ok(measure(&contestants, threads, rounds, operations))
}

fn place(thread: usize, operation: usize) -> usize {
    (thread * KEYS / 2 + operation * STRIDE) % KEYS
}

fn hits(runtime: &Runtime, group: &Arc<Group>, keys: &[Key], thread: usize, operations: usize) {
    let deadline = Instant::now() + Duration::from_secs(3_600);
    runtime.block_on(async {
        for operation in 0..operations {
            let key = keys[place(thread, operation)].clone();
            black_box(group.get(key, Origin::Client, deadline).await.is_ok());
        }
    });
}

/// A group of a cluster of one, which holds every key.
async fn filled_group(keys: &[Key], value: &Bytes) -> anyhow::Result<Arc<Group>> {
    let groups = Groups::new(Arc::new(Nobody));
    let loaded = value.clone();
    let loader = FnLoader::new("bench", move |_| {
        let value = loaded.clone();
        async move { Ok(Loaded::value(value)) }
    });
    groups.configure(vec![(settings(), Arc::new(loader))]);
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

fn settings() -> Settings {
    Settings {
        name: "bench".into(),
        aliases: Vec::new(),
        max_bytes: MAX_BYTES,
        hot_percent: 12,
        ttl: Some(Duration::from_secs(3_600)),
        negative_ttl: None,
        max_key_bytes: 1_024,
        max_value_bytes: 1 << 20,
        load_timeout: Duration::from_secs(10),
        purge_timeout: Duration::from_secs(2),
    }
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
}
