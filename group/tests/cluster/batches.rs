//! Calls of the loader for several keys, shared by flights that keep their own waiters, purges and ends.

use std::time::Duration;

use groupcache_group::group::{Answer, GetError, Origin, Source};
use groupcache_group::value::Key;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::many::{assert_all_gets_ended, numbered};
use crate::network::{Cluster, Hold, Leg, eventually, in_time};
use crate::source::{Together, counter};

type Results = Vec<Result<Answer, GetError>>;

/// A GetMany in a task of its own.
fn spawn_get_many(cluster: &Cluster, at: usize, keys: &[Key], deadline: Instant) -> JoinHandle<Results> {
    let (group, keys) = (cluster.group(at), keys.to_vec());
    tokio::spawn(async move { group.get_many(keys, Origin::Client, deadline, usize::MAX).await })
}

/// Lets everything happen that can without time passing.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_single_get_joins_its_key_in_a_batch_and_a_batch_joins_a_single_get() {
    let cluster = Cluster::of(1).await;
    cluster.source.takes(100);
    cluster.source.hold(true);
    let keys = numbered(5);
    let group = cluster.group(0);
    let single = |key: &Key| {
        let (group, key) = (group.clone(), key.clone());
        tokio::spawn(async move { group.get(key, Origin::Client, in_time()).await })
    };
    let before = single(&keys[0]);
    cluster.source.started(1).await;
    let batch = spawn_get_many(&cluster, 0, &keys, in_time());
    cluster.source.started(5).await;
    let after = single(&keys[4]);
    settle().await;
    cluster.source.hold(false);
    assert!(before.await.unwrap().is_ok() && after.await.unwrap().is_ok());
    assert!(batch.await.unwrap().iter().all(Result::is_ok));
    assert_eq!(cluster.source.loads(), 5);
    let stats = group.stats();
    assert_eq!((stats.joined, stats.load_manys, stats.load_many_keys), (2, 1, 4));
}

#[tokio::test(start_paused = true)]
async fn k1_a_purge_during_a_batch_fences_its_own_key_only() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    cluster.source.hold(true);
    let keys = cluster.keys_of(&[0], 5);
    let before = spawn_get_many(&cluster, 0, &keys, in_time());
    cluster.source.started(5).await;
    cluster.source.bump(&keys[2]);
    cluster.remove(1, &keys[2]).await.unwrap();
    let after = spawn_get_many(&cluster, 0, &keys[2..4], in_time());
    cluster.source.started(6).await;
    cluster.source.hold(false);
    let (before, after) = (before.await.unwrap(), after.await.unwrap());
    let kept: Vec<bool> = before.iter().map(|result| result.as_ref().unwrap().keep).collect();
    assert_eq!(kept, [true, true, false, true, true]);
    assert_eq!(counter(after[0].as_ref().unwrap()), 1, "what was asked for later is loaded anew");
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().fenced), (6, 1));
    assert_eq!(counter(&cluster.group(0).cached(keys[2].as_bytes(), Origin::Client).unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_comes_before_the_batch_leaves_it_running_and_kept() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    let keys = [cluster.keys_of(&[0], 5), cluster.keys_of(&[1], 5)].concat();
    cluster.get(0, &keys[2]).await.unwrap();
    cluster.source.hold(true);
    let deadline = Instant::now() + Duration::from_millis(20);
    let results = spawn_get_many(&cluster, 0, &keys, deadline).await.unwrap();
    assert!(Instant::now() <= deadline + Duration::from_millis(2));
    for (at, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), at == 2, "{result:?}");
        assert!(at == 2 || *result == Err(GetError::DeadlineExceeded));
    }
    assert_eq!(cluster.group(0).stats().deadline_exceeded, 9);
    let late = [0, 7].map(|at| spawn_get_many(&cluster, at / 5, &keys[at..=at], in_time()));
    settle().await;
    cluster.source.hold(false);
    for late in late {
        assert!(late.await.unwrap()[0].is_ok(), "who comes later joins what runs on");
    }
    eventually(|| (0..2).all(|at| cluster.group(at).sizes().main_entries == 5)).await;
    assert_eq!(cluster.source.loads(), 10);
    assert!(cluster.get_many(0, &keys[..5]).await.iter().all(|r| r.as_ref().unwrap().source == Source::Main));
    let over = cluster.group(0).get_many(numbered(3), Origin::Client, deadline, usize::MAX).await;
    assert_eq!(over, vec![Err(GetError::DeadlineExceeded); 3], "already over");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_nobody_waits_for_any_more_is_not_sent() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(3);
    cluster.source.shut(true);
    let soon = || Instant::now() + Duration::from_millis(10);
    let keys = cluster.keys_of(&[0], 9);
    let (group, joiner) = (cluster.group(0), keys[4].clone());
    let stays = tokio::spawn(async move { group.get(joiner, Origin::Client, in_time()).await });
    settle().await;
    let leaves = spawn_get_many(&cluster, 0, &keys, soon());
    assert!(leaves.await.unwrap().iter().all(Result::is_err));
    eventually(|| cluster.group(0).sizes().flights == 1).await;
    cluster.source.shut(false);
    assert!(stays.await.unwrap().is_ok());
    assert_eq!(cluster.source.loads(), 1, "for who stayed");

    cluster.network.set(Leg::FetchMany, "n1", Hold::Held);
    let theirs = cluster.keys_of(&[1], 5);
    assert!(spawn_get_many(&cluster, 0, &theirs, soon()).await.unwrap().iter().all(Result::is_err));
    eventually(|| cluster.group(0).sizes().flights == 0).await;
    cluster.network.set(Leg::FetchMany, "n1", Hold::Open);
    settle().await;
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn only_the_keys_that_are_still_waited_for_are_sent() {
    let cluster = Cluster::of(1).await;
    cluster.source.takes(100);
    cluster.source.shut(true);
    let keys = numbered(6);
    let soon = Instant::now() + Duration::from_millis(10);
    let leaves = spawn_get_many(&cluster, 0, &keys, soon);
    settle().await;
    let stays = spawn_get_many(&cluster, 0, &keys[1..3], in_time());
    assert!(leaves.await.unwrap().iter().all(Result::is_err));
    cluster.source.shut(false);
    assert!(stays.await.unwrap().iter().all(Result::is_ok));
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().load_many_keys), (2, 2));
    assert_eq!(cluster.group(0).sizes().flights, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_as_a_whole_fails_every_key_and_frees_it() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    let keys = cluster.keys_of(&[1], 4);
    for (together, said) in [
        (Together::Fails, "source: it is down"),
        (Together::Panics, "source: the loader panicked"),
        (Together::OneTooFew, "source: 3 results for 4 keys"),
        (Together::OneTooMany, "source: 5 results for 4 keys"),
    ] {
        *cluster.source.together.lock() = together;
        for result in cluster.get_many(0, &keys).await {
            let error = result.unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert_eq!((cluster.group(0).sizes().flights, cluster.group(1).sizes().flights), (0, 0));
    }
    let stats = cluster.group(1).stats();
    assert_eq!((stats.load_failures, stats.load_manys), (16, 4));
    *cluster.source.together.lock() = Together::Answers;
    assert!(cluster.get_many(0, &keys).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_never_answered_is_given_up_at_its_timeout() {
    let cluster = Cluster::of(1).await;
    cluster.source.takes(100);
    cluster.source.hold(true);
    let begun = Instant::now();
    for result in cluster.get_many(0, &numbered(3)).await {
        let error = result.unwrap_err();
        assert!(error.to_string().contains("source: no answer within 5s"), "{error}");
    }
    assert_eq!(begun.elapsed().as_secs(), 5);
    eventually(|| cluster.group(0).sizes().flights == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_takes_one_key_a_call_gets_so_many_calls_at_a_time() {
    let cluster = Cluster::of(1).await;
    cluster.source.hold(true);
    let keys = numbered(200);
    let many = spawn_get_many(&cluster, 0, &keys, in_time());
    cluster.source.started(64).await;
    settle().await;
    assert_eq!(cluster.source.loads(), 64);
    cluster.source.hold(false);
    assert!(many.await.unwrap().iter().all(Result::is_ok));
    let stats = cluster.group(0).stats();
    assert_eq!((stats.loads, stats.load_manys), (200, 0));
}

#[tokio::test(start_paused = true)]
async fn one_call_of_the_loader_asks_for_a_mebibyte_of_keys_at_most() {
    let cluster = Cluster::of(1).await;
    cluster.source.takes(usize::MAX);
    let long = |n| Key::new(format!("{n:065000}"), 1 << 20).unwrap();
    let keys: Vec<_> = (0..35).map(long).collect();
    assert!(cluster.get_many(0, &keys).await.iter().all(Result::is_ok));
    assert_eq!(cluster.group(0).stats().load_manys, 3);
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_a_batch_that_others_wait_for() {
    let cluster = Cluster::of(2).await;
    cluster.source.takes(100);
    cluster.source.hold(true);
    let keys = cluster.keys_of(&[1], 5);
    let leader = spawn_get_many(&cluster, 0, &keys, in_time());
    cluster.source.started(5).await;
    let follower = spawn_get_many(&cluster, 0, &keys[3..], in_time());
    settle().await;
    leader.abort();
    eventually(|| cluster.group(0).stats().abandoned == 5).await;
    cluster.source.hold(false);
    assert!(follower.await.unwrap().iter().all(Result::is_ok));
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().joined), (5, 2));
    assert_all_gets_ended(&cluster.group(0).stats());
}
