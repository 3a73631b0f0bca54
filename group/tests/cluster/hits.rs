//! Hits: what is kept, where, and for how long.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::group::{Origin, Settings, Source};
use groupcache_group::loader::{FnLoader, Loaded};
use groupcache_group::value::Outcome;
use tokio::time::{Instant, advance, sleep_until};

use crate::network::{Cluster, GROUP, Leg, key, settings};
use crate::source::Mood;

const MINUTE: Duration = Duration::from_secs(60);

async fn source_of(cluster: &Cluster, at: usize, text: &groupcache_group::value::Key) -> Source {
    cluster.get(at, text).await.unwrap().source
}

#[tokio::test(start_paused = true)]
async fn the_second_request_of_another_owners_key_makes_a_hot_copy() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    assert_eq!(source_of(&cluster, 0, &key).await, Source::Peer);
    assert_eq!(source_of(&cluster, 0, &key).await, Source::Peer);
    assert_eq!(source_of(&cluster, 0, &key).await, Source::Hot);
    assert_eq!(cluster.network.count(Leg::Fetch, "n1"), 2);
    let sizes = cluster.group(0).sizes();
    assert_eq!((sizes.main_entries, sizes.hot_entries), (0, 1));
    assert_eq!(cluster.group(1).stats().peer_gets, 2);
    assert_eq!(cluster.group(0).stats().hot_hits, 1);
}

#[tokio::test(start_paused = true)]
async fn without_memory_for_hot_copies_none_are_kept() {
    let cluster = Cluster::with(2, Settings { hot_percent: 0, ..settings() }).await;
    let key = cluster.key_of(&[1]);
    for _ in 0..5 {
        assert_eq!(source_of(&cluster, 0, &key).await, Source::Peer);
    }
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn k6_a_hot_copy_never_answers_a_peer() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    for _ in 0..3 {
        cluster.get(0, &key).await.unwrap();
    }
    let group = cluster.group(0);
    assert_eq!(group.cached(key.as_bytes(), Origin::Client).unwrap().source, Source::Hot);
    assert_eq!(group.cached(key.as_bytes(), Origin::Peer), None);
    let soon = Instant::now() + Duration::from_secs(1);
    let to_a_peer = group.get(key, Origin::Peer, soon).await.unwrap();
    assert_eq!(to_a_peer.source, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn a_value_over_the_limit_is_answered_everywhere_and_kept_nowhere() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.source.set(Mood::Big(1024 * 1024 + 1));
    for asked in 1..=3 {
        assert_eq!(cluster.get(0, &key).await.unwrap().entry.value_bytes(), 1024 * 1024 + 1);
        assert_eq!(cluster.source.loads(), asked);
    }
    assert_eq!(cluster.group(1).stats().oversize, 3);
    assert_eq!(cluster.group(1).sizes().main_entries + cluster.group(0).sizes().hot_entries, 0);
}

#[tokio::test(start_paused = true)]
async fn one_big_value_does_not_push_out_a_whole_cache() {
    let settings = Settings { max_bytes: 1 << 20, hot_percent: 0, ..settings() };
    let cluster = Cluster::with(1, settings).await;
    let small: Vec<_> = (0..1_000).map(|n| key(&format!("small-{n}"))).collect();
    for key in &small {
        cluster.get(0, key).await.unwrap();
    }
    cluster.source.set(Mood::Big(900 * 1024));
    assert!(!cluster.get(0, &key("big")).await.unwrap().keep);
    let group = cluster.group(0);
    assert_eq!(group.stats().no_room, 1);
    assert!(small.iter().all(|key| group.cached(key.as_bytes(), Origin::Client).is_some()));
}

#[tokio::test(start_paused = true)]
async fn values_expire_within_the_last_tenth_of_their_ttl_and_never_later() {
    let cluster = Cluster::with(1, Settings { ttl: Some(MINUTE), ..settings() }).await;
    let group = cluster.group(0);
    let keys: Vec<_> = (0..200).map(|n| key(&format!("{n}"))).collect();
    for key in &keys {
        cluster.get(0, key).await.unwrap();
    }
    let alive = || keys.iter().filter(|key| group.cached(key.as_bytes(), Origin::Client).is_some()).count();
    let start = Instant::now();
    sleep_until(start + MINUTE * 9 / 10 - Duration::from_millis(1)).await;
    assert_eq!(alive(), 200);
    sleep_until(start + MINUTE * 19 / 20).await;
    assert!((50..150).contains(&alive()), "{} of 200 alive in the middle of the spread", alive());
    sleep_until(start + MINUTE).await;
    assert_eq!(alive(), 0);
    assert_eq!(source_of(&cluster, 0, &keys[0]).await, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn the_loaders_ttl_counts_if_it_is_shorter_and_zero_keeps_nothing() {
    let cluster = Cluster::with(1, Settings { ttl: Some(MINUTE), ..settings() }).await;
    *cluster.source.ttl.lock() = Some(MINUTE / 2);
    let remaining = |answer: groupcache_group::group::Answer| answer.entry.remaining(Instant::now()).unwrap();
    assert!(remaining(cluster.get(0, &key("short")).await.unwrap()) <= MINUTE / 2);
    *cluster.source.ttl.lock() = Some(MINUTE * 2);
    assert!(remaining(cluster.get(0, &key("long")).await.unwrap()) > MINUTE / 2);
    *cluster.source.ttl.lock() = Some(Duration::ZERO);
    assert!(!cluster.get(0, &key("never")).await.unwrap().keep);
    assert_eq!(source_of(&cluster, 0, &key("never")).await, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn a_hot_copy_expires_with_the_owners_entry() {
    let cluster = Cluster::with(2, Settings { ttl: Some(MINUTE), ..settings() }).await;
    let key = cluster.key_of(&[1]);
    cluster.get(0, &key).await.unwrap();
    advance(MINUTE / 3).await;
    let hot = cluster.get(0, &key).await.unwrap();
    let own = cluster.group(1).cached(key.as_bytes(), Origin::Client).unwrap();
    assert_eq!(hot.entry.expires, own.entry.expires);
    advance(MINUTE).await;
    assert_eq!(cluster.group(0).cached(key.as_bytes(), Origin::Client), None);
}

#[tokio::test(start_paused = true)]
async fn no_such_key_is_kept_only_if_the_group_says_for_how_long() {
    let cluster = Cluster::of(1).await;
    cluster.source.set(Mood::NotFound);
    cluster.get(0, &key("k")).await.unwrap();
    assert_eq!(source_of(&cluster, 0, &key("k")).await, Source::Loader);

    let cluster = Cluster::with(1, Settings { negative_ttl: Some(MINUTE), ..settings() }).await;
    cluster.source.set(Mood::NotFound);
    cluster.get(0, &key("k")).await.unwrap();
    assert_eq!(source_of(&cluster, 0, &key("k")).await, Source::Main);
    assert_eq!(cluster.group(0).stats().not_found, 2);
    advance(MINUTE).await;
    assert_eq!(source_of(&cluster, 0, &key("k")).await, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn settings_and_loader_change_live_and_only_a_new_budget_empties_the_cache() {
    let cluster = Cluster::of(1).await;
    let group = cluster.group(0);
    cluster.get(0, &key("old")).await.unwrap();
    let other = Arc::new(FnLoader::new("other", |_| async { Ok(Loaded::value("new")) }));
    let changed = Settings { ttl: Some(MINUTE), aliases: vec!["other name".into()], ..settings() };
    cluster.nodes[0].configure(vec![(changed.clone(), other.clone())]);
    assert!(Arc::ptr_eq(&group, &cluster.group(0)));
    assert!(Arc::ptr_eq(&group, &cluster.nodes[0].get("other name").unwrap()));
    assert_eq!(source_of(&cluster, 0, &key("old")).await, Source::Main);
    let new = cluster.get(0, &key("new")).await.unwrap().entry;
    assert_eq!(new.outcome, Outcome::Value("new".into()));
    assert!(new.remaining(Instant::now()).unwrap() <= MINUTE);

    cluster.nodes[0].configure(vec![(Settings { max_bytes: 1 << 20, ..changed }, other)]);
    assert_eq!(group.sizes().main_entries, 0);
    assert_eq!(source_of(&cluster, 0, &key("old")).await, Source::Loader);
    cluster.nodes[0].configure(Vec::new());
    assert!(cluster.nodes[0].get(GROUP).is_none());
}
