//! Several keys at once: one call for each owner, one of the loader for what it has to load, a result for each key.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{GetError, Origin, Settings, Source};
use groupcache_group::peer::Purged;
use groupcache_group::stats::Stats;
use groupcache_group::value::{Key, Outcome};
use groupcache_ring::State;

use crate::network::{Cluster, Leg, eventually, in_time, key, member, settings};
use crate::source::{Mood, counter, down};

pub(crate) fn numbered(count: usize) -> Vec<Key> {
    (0..count).map(|n| key(&format!("many-{n}"))).collect()
}

pub(crate) fn assert_all_gets_ended(stats: &Stats) {
    let ends = stats.main_hits + stats.hot_hits + stats.fetches + stats.loaded + stats.joined + stats.failed;
    let ends = ends + stats.not_ready + stats.deadline_exceeded + stats.abandoned;
    assert_eq!(stats.gets + stats.peer_gets, ends, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn cold_keys_are_loaded_once_and_together_however_many_ask() {
    let cluster = Cluster::of(3).await;
    cluster.source.takes(10);
    let keys = numbered(100);
    let many = join_all((0..50).map(|n| cluster.get_many(n % 3, &keys)));
    let single = join_all((0..100).map(|n| cluster.get(n % 3, &keys[n])));
    let (many, single) = futures::future::join(many, single).await;
    assert!(many.iter().all(|results| results.len() == 100 && results.iter().all(Result::is_ok)));
    assert!(single.iter().all(Result::is_ok));
    assert!(keys.iter().all(|key| cluster.source.loads_of(key) == 1));
    let mut gets = 0;
    for at in 0..3 {
        let stats = cluster.group(at).stats();
        assert_all_gets_ended(&stats);
        gets += stats.gets;
        let view = cluster.group(at).view().unwrap();
        let mine = |key: &&Key| view.owner(key.as_bytes()) == Some(groupcache_group::view::Place::Me);
        let mine = keys.iter().filter(mine).count() as u64;
        // A last call for a single key is a plain load.
        let alone = u64::from(mine % 10 == 1);
        assert!(mine > 20, "{mine}");
        assert_eq!((stats.loads, stats.load_many_keys), (mine, mine - alone));
        assert_eq!(stats.load_manys, mine.div_ceil(10) - alone);
        assert_eq!(stats.get_manys, if at < 2 { 17 } else { 16 });
        assert_eq!(cluster.network.count(Leg::FetchMany, &format!("n{at}")), 2, "one of each other node");
    }
    assert_eq!(gets, 50 * 100 + 100);
}

#[tokio::test(start_paused = true)]
async fn each_result_stands_where_its_key_stood() {
    let cluster = Cluster::of(3).await;
    cluster.source.takes(4);
    cluster.network.most_answers.store(5, Ordering::SeqCst);
    let keys = numbered(40);
    for (at, key) in keys.iter().enumerate() {
        for _ in 0..at {
            cluster.source.bump(key);
        }
    }
    cluster.get_many(0, &keys[10..15]).await;
    let counters: Vec<u64> =
        cluster.get_many(0, &keys).await.iter().map(|result| counter(result.as_ref().unwrap())).collect();
    assert_eq!(counters, (0..40).collect::<Vec<u64>>());
}

#[tokio::test(start_paused = true)]
async fn a_missing_and_a_failing_key_leave_their_neighbours_alone() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    let keys = cluster.keys_of(&[1], 5);
    cluster.source.moods.lock().insert(keys[1].clone(), Mood::NotFound);
    cluster.source.moods.lock().insert(keys[3].clone(), Mood::Fails);
    let results = cluster.get_many(0, &keys).await;
    for at in [0, 2, 4] {
        assert_eq!(counter(results[at].as_ref().unwrap()), 0);
        assert!(cluster.group(1).cached(keys[at].as_bytes(), Origin::Peer).is_some());
    }
    assert_eq!(results[1].as_ref().unwrap().entry.outcome, Outcome::NotFound);
    assert_eq!(results[3], Err(GetError::Load(down())));
    let (asker, owner) = (cluster.group(0).stats(), cluster.group(1).stats());
    assert_eq!((owner.load_manys, owner.loads, owner.load_failures), (1, 4, 1));
    assert_eq!((asker.fetches, asker.failed, asker.not_found), (4, 1, 1));
    assert_eq!(cluster.source.loads(), 5, "and nothing is tried again");
}

/// In the window the owner may not be purged yet: what it says is answered, but no other Get may have it.
#[tokio::test(start_paused = true)]
async fn k2_what_is_fetched_in_a_window_is_neither_joined_nor_kept() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    let keys = cluster.keys_of(&[1], 3);
    cluster.group(0).purge(&Purged::Keys(keys.clone().into()), Duration::from_secs(1), None);
    let answers = join_all((0..4).map(|_| cluster.get_many(0, &keys))).await;
    assert!(answers.iter().flatten().all(Result::is_ok));
    assert_eq!(cluster.network.count(Leg::FetchMany, "n1"), 4);
    assert_eq!((cluster.source.loads(), cluster.group(0).sizes().hot_entries), (3, 0));
    tokio::time::advance(Duration::from_secs(1)).await;
    cluster.get_many(0, &keys).await;
    eventually(|| cluster.group(0).sizes().hot_entries == 3).await;
    assert!(cluster.get_many(0, &keys).await.iter().all(|r| r.as_ref().unwrap().source == Source::Hot));
}

#[tokio::test(start_paused = true)]
async fn k3_a_node_that_may_not_keep_shares_and_keeps_nothing() {
    let mut cluster = Cluster::of(3).await;
    cluster.source.takes(100);
    let members = (0..3).map(|at| member(at, if at == 0 { State::Joining } else { State::Active })).collect();
    cluster.adopt(2, members);
    let keys = cluster.keys_of(&[1, 2], 3);
    for _ in 0..2 {
        assert!(cluster.get_many(0, &keys).await.iter().all(|r| r.as_ref().unwrap().source == Source::Peer));
    }
    assert!(join_all((0..2).map(|_| cluster.get_many(0, &keys))).await.iter().flatten().all(Result::is_ok));
    assert_eq!((cluster.network.count(Leg::FetchMany, "n1"), cluster.source.loads()), (4, 3));
    cluster.network.cut("n1");
    cluster.network.cut("n2");
    let answers = join_all((0..2).map(|_| cluster.get_many(0, &keys))).await;
    assert!(answers.iter().flatten().all(|r| r.as_ref().unwrap().source == Source::Loader));
    assert_eq!(cluster.source.loads(), 6, "neither had been sent when the other came");
    let sizes = cluster.group(0).sizes();
    assert_eq!((sizes.main_entries, sizes.hot_entries), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_owners_keys_go_to_their_second_owners_together() {
    let cluster = Cluster::of(4).await;
    cluster.source.takes(100);
    cluster.network.cut("n0");
    let keys = [[0, 1], [0, 2], [0, 3]].map(|owners| cluster.keys_of(&owners, 5)).concat();
    let results = cluster.get_many(3, &keys).await;
    let sources: Vec<_> = results.iter().map(|result| result.as_ref().unwrap().source).collect();
    assert_eq!(sources[..10], [Source::Peer; 10]);
    assert_eq!(sources[10..], [Source::Loader; 5]);
    assert_eq!(cluster.source.loads(), 15);
    for node in ["n0", "n1", "n2"] {
        assert_eq!(cluster.network.count(Leg::FetchMany, node), 1);
    }
    for at in 1..4 {
        assert_eq!(cluster.group(at).stats().load_manys, 1);
    }
    let stats = cluster.group(3).stats();
    assert_eq!((stats.fetch_failures, stats.second_owner_fetches), (15, 10));
    assert_all_gets_ended(&stats);
}

#[tokio::test(start_paused = true)]
async fn with_both_owners_gone_a_node_loads_the_keys_itself_together() {
    let cluster = Cluster::of(4).await;
    cluster.source.takes(100);
    cluster.network.cut("n0");
    cluster.network.cut("n1");
    let keys = cluster.keys_of(&[0, 1], 5);
    let results = cluster.get_many(2, &keys).await;
    assert!(results.iter().all(|result| result.as_ref().unwrap().source == Source::Loader));
    let stats = cluster.group(2).stats();
    assert_eq!((stats.load_manys, stats.loads, stats.fetch_failures), (1, 5, 10));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_know_the_group_or_miscounts_is_passed_over() {
    let cluster = Cluster::of(3).await;
    let keys = cluster.keys_of(&[1, 0], 3);
    cluster.network.most_answers.store(0, Ordering::SeqCst);
    assert!(cluster.get_many(0, &keys).await.iter().all(|r| r.as_ref().unwrap().source == Source::Loader));
    cluster.nodes[1].configure(Vec::new());
    let others = cluster.keys_of(&[1, 0], 6).split_off(3);
    assert!(cluster.get_many(0, &others).await.iter().all(|r| r.as_ref().unwrap().source == Source::Loader));
    assert_eq!(cluster.network.count(Leg::FetchMany, "n1"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_full_is_asked_for_again_from_where_it_ended() {
    let cluster = Cluster::of(2).await;
    cluster.network.most_answers.store(4, Ordering::SeqCst);
    let keys = cluster.keys_of(&[1], 10);
    let results = cluster.get_many(0, &keys).await;
    assert_eq!(results.len(), 10);
    assert!(results.iter().all(|result| result.as_ref().unwrap().source == Source::Peer));
    assert_eq!(cluster.network.count(Leg::FetchMany, "n1"), 3);
    assert_eq!(cluster.source.loads(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_asked_for_twice_is_answered_twice_and_loaded_once() {
    let cluster = Cluster::of(2).await;
    let (mine, theirs) = (cluster.key_of(&[0]), cluster.key_of(&[1]));
    let keys = [&mine, &theirs, &mine, &theirs, &theirs].map(Key::clone);
    let results = cluster.get_many(0, &keys).await;
    assert_eq!(results.len(), 5);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(cluster.source.loads(), 2);
    let stats = cluster.group(0).stats();
    assert_eq!((stats.gets, stats.loaded, stats.fetches, stats.joined), (5, 1, 1, 3));
    assert!(cluster.get_many(0, &[]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_results_stop_where_the_values_would_be_too_many_bytes() {
    let settings = Settings { max_value_bytes: 2_000, ..settings() };
    let cluster = Cluster::with(2, settings).await;
    cluster.source.set(Mood::Big(1_000));
    let keys = numbered(10);
    let ask = |most_bytes| {
        let group = cluster.group(0);
        let keys = keys.clone();
        async move { group.get_many(keys, Origin::Client, in_time(), most_bytes).await }
    };
    for (most_bytes, results) in [(3_500, 3), (4_000, 4), (10, 1), (10_000, 10)] {
        let answers = ask(most_bytes).await;
        assert_eq!(answers.len(), results);
        assert!(answers.iter().all(Result::is_ok));
    }
    eventually(|| cluster.group(0).sizes().flights == 0).await;
    assert_all_gets_ended(&cluster.group(0).stats());
}
