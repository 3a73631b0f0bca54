//! Removes: what was loaded before one never comes back, at any node, however the messages fall.

use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{Answer, GetError, Origin, RemoveError, Source};
use groupcache_group::value::{Key, Outcome};
use groupcache_ring::{Member, State};
use tokio::task::JoinHandle;

use crate::network::{Cluster, Hold, Leg, WINDOW, eventually, in_time, key, member, settings, view};
use crate::source::{Mood, counter};

/// A Get in a task of its own.
fn spawn_get(cluster: &Cluster, at: usize, key: &Key) -> JoinHandle<Result<Answer, GetError>> {
    let (group, key) = (cluster.group(at), key.clone());
    tokio::spawn(async move { group.get(key, Origin::Client, in_time()).await })
}

fn spawn_remove(cluster: &Cluster, at: usize, key: &Key) -> JoinHandle<Result<(), RemoveError>> {
    let (group, key) = (cluster.group(at), key.clone());
    tokio::spawn(async move { group.remove(vec![key], None, in_time()).await })
}

async fn counter_at(cluster: &Cluster, at: usize, key: &Key) -> u64 {
    counter(&cluster.get(at, key).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_remove_reaches_main_and_hot_copies_everywhere() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[1]);
    for _ in 0..3 {
        for at in 0..3 {
            assert_eq!(counter_at(&cluster, at, &key).await, 0);
        }
    }
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Hot);
    cluster.source.bump(&key);
    cluster.remove(2, &key).await.unwrap();
    for at in 0..3 {
        assert_eq!(counter_at(&cluster, at, &key).await, 1);
    }
    assert_eq!(cluster.group(2).stats().removes, 1);
    assert_eq!(cluster.group(0).stats().purged_keys, 1);
}

#[tokio::test(start_paused = true)]
async fn k1_a_load_from_before_a_remove_is_answered_but_not_kept() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[0]);
    cluster.source.hold(true);
    let before = spawn_get(&cluster, 0, &key);
    cluster.source.started(1).await;
    cluster.source.bump(&key);
    cluster.remove(1, &key).await.unwrap();
    cluster.source.hold(false);
    let old = before.await.unwrap().unwrap();
    assert_eq!((counter(&old), old.keep), (0, false));
    assert_eq!(counter_at(&cluster, 0, &key).await, 1);
    assert_eq!(cluster.group(0).stats().fenced, 1);
}

#[tokio::test(start_paused = true)]
async fn k1_a_get_after_a_remove_does_not_join_a_load_from_before() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.source.hold(true);
    let before = spawn_get(&cluster, 0, &key);
    cluster.source.started(1).await;
    cluster.source.bump(&key);
    cluster.remove(0, &key).await.unwrap();
    let after = [0, 1].map(|at| spawn_get(&cluster, at, &key));
    cluster.source.started(2).await;
    cluster.source.hold(false);
    assert_eq!(counter(&before.await.unwrap().unwrap()), 0, "it may have the old value");
    for after in after {
        assert_eq!(counter(&after.await.unwrap().unwrap()), 1);
    }
    assert_eq!(cluster.source.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn k1_a_fetch_from_before_a_remove_is_answered_but_not_kept() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.get(0, &key).await.unwrap();
    cluster.network.set(Leg::FetchReply, "n1", Hold::Held);
    let before = spawn_get(&cluster, 0, &key);
    cluster.network.passed(Leg::FetchReply, "n1", 2).await;
    cluster.source.bump(&key);
    cluster.remove(1, &key).await.unwrap();
    cluster.network.set(Leg::FetchReply, "n1", Hold::Open);
    assert_eq!(counter(&before.await.unwrap().unwrap()), 0);
    assert_eq!(counter_at(&cluster, 0, &key).await, 1);
}

#[tokio::test(start_paused = true)]
async fn k2_a_fetch_that_starts_in_the_window_is_not_kept() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.get(0, &key).await.unwrap();
    cluster.network.set(Leg::Purge, "n1", Hold::Held);
    cluster.source.bump(&key);
    let remove = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    assert_eq!(counter_at(&cluster, 0, &key).await, 0, "the owner is not purged yet");
    cluster.network.set(Leg::Purge, "n1", Hold::Open);
    remove.await.unwrap().unwrap();
    assert_eq!(counter_at(&cluster, 0, &key).await, 1);
    assert_eq!(cluster.group(0).stats().fenced, 2, "and nothing is kept until the window closes");
    tokio::time::advance(WINDOW).await;
    cluster.get(0, &key).await.unwrap();
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Hot);
}

/// One Get fetches from an owner that is not purged yet, Remove succeeds, a later Get must not board that fetch.
async fn a_get_joins_no_fetch_from_the_window(pause: Duration) {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    cluster.network.set(Leg::Purge, "n1", Hold::Held);
    cluster.network.set(Leg::FetchReply, "n1", Hold::Held);
    cluster.source.bump(&key);
    let remove = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    let within = spawn_get(&cluster, 0, &key);
    cluster.network.passed(Leg::FetchReply, "n1", 1).await;
    cluster.network.set(Leg::Purge, "n1", Hold::Open);
    remove.await.unwrap().unwrap();

    tokio::time::advance(pause).await;
    let after = spawn_get(&cluster, 0, &key);
    cluster.network.passed(Leg::FetchReply, "n1", 2).await;
    cluster.network.set(Leg::FetchReply, "n1", Hold::Open);
    assert_eq!(counter(&within.await.unwrap().unwrap()), 0);
    assert_eq!(counter(&after.await.unwrap().unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn k2_a_fetch_that_started_in_the_window_is_joined_by_nobody() {
    a_get_joins_no_fetch_from_the_window(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn k2_nor_after_the_window() {
    a_get_joins_no_fetch_from_the_window(WINDOW * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_load_in_the_window_is_free_kept_and_shared() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[0]);
    cluster.remove(0, &key).await.unwrap();
    join_all((0..100).map(|_| cluster.get(0, &key))).await;
    assert_eq!(cluster.source.loads(), 1);
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Main);
}

/// Found by the checker on a machine that kept the coordinator from running for longer than a window.
#[tokio::test(start_paused = true)]
async fn an_acknowledgement_seen_after_the_first_window_has_closed_does_not_count() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.get(0, &key).await.unwrap();
    cluster.network.set(Leg::Purge, "n1", Hold::Held);
    let remove = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    // The message gets through, but nobody runs until the window is over.
    cluster.network.set(Leg::Purge, "n1", Hold::Open);
    tokio::time::advance(WINDOW + Duration::from_millis(1)).await;
    remove.await.unwrap().unwrap();
    eventually(|| cluster.network.count(Leg::Purge, "n1") == 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_remove_whose_caller_goes_away_is_not_cut_in_half() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    cluster.network.set(Leg::Purge, "n1", Hold::Held);
    let remove = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    remove.abort();
    assert!(remove.await.unwrap_err().is_cancelled());
    cluster.network.set(Leg::Purge, "n1", Hold::Open);
    eventually(|| cluster.group(0).stats().removes == 1).await;
    assert_eq!(cluster.group(1).sizes().main_entries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_remove_is_never_merged_with_an_earlier_one() {
    let cluster = Cluster::of(2).await;
    let key = key("k");
    cluster.network.set(Leg::Purge, "n1", Hold::Held);
    let first = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    let second = spawn_remove(&cluster, 0, &key);
    cluster.network.passed(Leg::Purge, "n1", 2).await;
    cluster.network.set(Leg::Purge, "n1", Hold::Open);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn many_removes_do_not_empty_the_cache_nor_fence_its_loads() {
    let cluster = Cluster::of(1).await;
    let group = cluster.group(0);
    let keys: Vec<_> = (0..2_000).map(|n| key(&format!("kept-{n}"))).collect();
    join_all(keys.iter().map(|key| cluster.get(0, key))).await;
    cluster.source.hold(true);
    let loading: Vec<_> = (0..500).map(|n| key(&format!("loading-{n}"))).collect();
    let gets: Vec<_> = loading.iter().map(|key| spawn_get(&cluster, 0, key)).collect();
    cluster.source.started(2_500).await;
    let others = (0..10_000).map(|n| key(&format!("other-{n}"))).collect();
    group.remove(others, None, in_time()).await.unwrap();
    cluster.source.hold(false);
    for get in gets {
        assert!(get.await.unwrap().unwrap().keep);
    }
    assert!(keys.iter().chain(&loading).all(|key| group.cached(key.as_bytes(), Origin::Client).is_some()));
    let stats = group.stats();
    assert_eq!((stats.window_overflows, stats.fenced), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_such_key_is_forgotten_like_a_value() {
    let mut settings = settings();
    settings.negative_ttl = Some(Duration::from_secs(60));
    let cluster = Cluster::with(2, settings).await;
    let key = cluster.key_of(&[1]);
    cluster.source.set(Mood::NotFound);
    for _ in 0..3 {
        assert_eq!(cluster.get(0, &key).await.unwrap().entry.outcome, Outcome::NotFound);
    }
    assert_eq!(cluster.source.loads(), 1);
    cluster.source.set(Mood::Answers);
    cluster.remove(0, &key).await.unwrap();
    assert_eq!(counter_at(&cluster, 0, &key).await, 0);
}

/// Three nodes, of which the first does not know yet that the third has joined.
async fn a_cluster_with_one_behind() -> (Cluster, Vec<Member>) {
    let cluster = Cluster::of(3).await;
    let all = cluster.members.clone();
    cluster.network.hold_beats();
    for (at, name) in ["n0", "n1", "n2"].into_iter().enumerate() {
        cluster.nodes[at].adopt(view(name, 2, &all[..2]));
    }
    cluster.nodes[1].adopt(view("n1", 3, &all));
    (cluster, all)
}

#[tokio::test(start_paused = true)]
async fn r1_a_newer_membership_at_another_node_extends_the_remove() {
    let (cluster, all) = a_cluster_with_one_behind().await;
    let remove = spawn_remove(&cluster, 0, &key("k"));
    cluster.network.passed(Leg::Purge, "n1", 1).await;
    eventually(|| cluster.group(1).stats().purged_keys == 1).await;
    assert_eq!(cluster.network.count(Leg::Purge, "n2"), 0);
    cluster.nodes[0].adopt(view("n0", 3, &all));
    remove.await.unwrap().unwrap();
    assert_eq!(cluster.group(2).stats().purged_keys, 1);
}

#[tokio::test(start_paused = true)]
async fn r1_without_that_membership_the_remove_fails_and_says_who_has_it() {
    let (cluster, _) = a_cluster_with_one_behind().await;
    let error = cluster.remove(0, &key("k")).await.unwrap_err().to_string();
    assert!(error.contains("n1: has membership 1.3 and this node only 1.2"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_no_member_coordinates_no_remove() {
    let cluster = Cluster::of(2).await;
    let others: Vec<_> = vec![member(1, State::Active)];
    cluster.network.hold_beats();
    cluster.nodes[0].adopt(view("n0", 2, &others));
    assert_eq!(cluster.remove(0, &key("k")).await, Err(RemoveError::NotReady));
}
