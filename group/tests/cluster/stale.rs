//! Stale values: answered while the owner refreshes them or the loader fails, and gone with a purge like any other.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{Answer, GetError, Origin, Settings, Source};
use groupcache_group::loader::FnLoader;
use groupcache_group::value::{Key, Outcome};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::network::{Cluster, Hold, Leg, eventually, in_time, key, pass, settings};
use crate::source::{Mood, counter};

const MINUTE: Duration = Duration::from_secs(60);

/// A minute fresh, then for so long of use.
fn stale(while_revalidate: Duration, if_error: Duration) -> Settings {
    Settings {
        ttl: Some(MINUTE),
        stale_while_revalidate: while_revalidate,
        stale_if_error: if_error,
        ..settings()
    }
}

fn spawn_get(cluster: &Cluster, at: usize, key: &Key) -> JoinHandle<Result<Answer, GetError>> {
    let (group, key) = (cluster.group(at), key.clone());
    tokio::spawn(async move { group.get(key, Origin::Client, in_time()).await })
}

async fn found(cluster: &Cluster, at: usize, key: &Key) -> (Source, u64) {
    let answer = cluster.get(at, key).await.unwrap();
    (answer.source, counter(&answer))
}

/// Waits until no load, fetch or refresh is under way anywhere.
async fn quiet(cluster: &Cluster) {
    eventually(|| (0..cluster.nodes.len()).all(|at| cluster.group(at).sizes().flights == 0)).await;
    // Whoever waits for a flight hears of its end a moment later.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

/// Every node holds the key: its owner in main, the others as hot copies.
async fn held_everywhere(cluster: &Cluster, key: &Key) {
    for at in 0..cluster.nodes.len() {
        for _ in 0..3 {
            cluster.get(at, key).await.unwrap();
        }
    }
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_is_answered_at_once_everywhere_and_the_owner_alone_refreshes_it_once() {
    let cluster = Cluster::with(3, stale(MINUTE, Duration::ZERO)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.source.bump(&key);
    cluster.source.hold(true);
    let begun = Instant::now();
    let answers = join_all((0..300).map(|n| found(&cluster, n % 3, &key))).await;
    assert!(answers.iter().all(|answer| *answer == (Source::Stale, 0)), "{answers:?}");
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited");
    cluster.source.started(2).await;
    assert_eq!(cluster.source.loads(), 2, "one refresh");
    let stats = |at| cluster.group(at).stats();
    assert_eq!((stats(0).stale_hits, stats(2).stale_hits), (100, 100));
    assert_eq!([0, 1, 2].map(|at| stats(at).refreshes), [1, 1, 1], "at the source, and two at the owner");
    assert_eq!(
        (stats(0).loads + stats(2).loads, stats(1).peer_gets),
        (0, 6),
        "two of them are the refreshes"
    );

    cluster.source.hold(false);
    quiet(&cluster).await;
    assert_eq!(found(&cluster, 1, &key).await, (Source::Main, 1));
    // The copies elsewhere follow as they are asked for again.
    pass(Duration::from_millis(100)).await;
    assert_eq!(found(&cluster, 0, &key).await, (Source::Stale, 0));
    quiet(&cluster).await;
    assert_eq!(found(&cluster, 0, &key).await, (Source::Hot, 1));
    assert_eq!(cluster.source.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_refresh_at_a_time_however_long_it_takes_and_a_failed_one_is_tried_again_a_second_later() {
    let cluster = Cluster::with(1, stale(MINUTE, Duration::ZERO)).await;
    let key = key("k");
    cluster.get(0, &key).await.unwrap();
    pass(MINUTE).await;
    cluster.source.hold(true);
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Stale);
    cluster.source.started(2).await;
    for _ in 0..4 {
        pass(Duration::from_secs(1)).await;
        assert_eq!(found(&cluster, 0, &key).await.0, Source::Stale);
    }
    assert_eq!(cluster.source.loads(), 2);
    cluster.source.set(Mood::Fails);
    cluster.source.hold(false);
    quiet(&cluster).await;
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Stale);
    quiet(&cluster).await;
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().refresh_failures), (2, 1), "not at once");
    pass(Duration::from_secs(1)).await;
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Stale);
    quiet(&cluster).await;
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().refresh_failures), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn beyond_its_time_a_stale_value_is_a_miss() {
    let cluster = Cluster::with(2, stale(MINUTE, Duration::ZERO)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    cluster.source.bump(&key);
    pass(MINUTE * 2).await;
    assert_eq!(found(&cluster, 0, &key).await, (Source::Peer, 1));
    assert_eq!(found(&cluster, 1, &key).await, (Source::Main, 1));
    assert_eq!(cluster.group(0).stats().stale_hits + cluster.group(1).stats().stale_hits, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_the_owner_calls_no_loader_for_a_refresh() {
    let cluster = Cluster::with(3, stale(MINUTE, Duration::ZERO)).await;
    let key = cluster.key_of(&[1, 2]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.network.cut("n1");
    for _ in 0..5 {
        assert_eq!(found(&cluster, 0, &key).await, (Source::Stale, 0));
        quiet(&cluster).await;
        pass(Duration::from_millis(100)).await;
    }
    assert_eq!(cluster.source.loads(), 1);
    assert_eq!(cluster.group(0).stats().refresh_failures, 5);
    pass(MINUTE).await;
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Peer, "who needs it has the second owner load it");
    assert_eq!(cluster.source.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_answers_stale_is_answered_and_not_kept() {
    let cluster = Cluster::with(2, stale(MINUTE, Duration::ZERO)).await;
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    pass(MINUTE).await;
    cluster.source.hold(true);
    for _ in 0..4 {
        let answer = cluster.get(0, &key).await.unwrap();
        assert_eq!((answer.source, answer.keep), (Source::Stale, false));
        assert_eq!(answer.entry.remaining(Instant::now()), Some(Duration::ZERO));
    }
    assert_eq!(cluster.group(0).sizes().hot_entries, 0);
    assert_eq!(cluster.group(0).stats().stale_hits, 4);
}

#[tokio::test(start_paused = true)]
async fn no_such_key_is_never_stale() {
    let settings = Settings { negative_ttl: Some(MINUTE), ..stale(MINUTE, MINUTE) };
    let cluster = Cluster::with(1, settings).await;
    cluster.source.set(Mood::NotFound);
    cluster.get(0, &key("k")).await.unwrap();
    pass(MINUTE).await;
    cluster.source.set(Mood::Answers);
    let answer = cluster.get(0, &key("k")).await.unwrap();
    assert!(matches!(answer.entry.outcome, Outcome::Value(_)), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn while_the_loader_fails_the_old_value_is_answered_and_counted() {
    for mood in [Mood::Fails, Mood::Full, Mood::Panics] {
        let cluster = Cluster::with(2, stale(Duration::ZERO, MINUTE)).await;
        let key = cluster.key_of(&[1]);
        cluster.get(1, &key).await.unwrap();
        pass(MINUTE).await;
        cluster.source.set(mood.clone());
        assert_eq!(found(&cluster, 1, &key).await, (Source::Stale, 0), "{mood:?}");
        assert_eq!(found(&cluster, 0, &key).await, (Source::Stale, 0), "and to other nodes");
        assert_eq!(cluster.source.loads(), 3, "each was a try");
        let stats = cluster.group(1).stats();
        assert_eq!((stats.stale_hits, stats.stale_on_error), (2, 2));
        cluster.source.bump(&key);
        cluster.source.set(Mood::Answers);
        assert_eq!(found(&cluster, 1, &key).await, (Source::Loader, 1), "no longer than it fails");
        pass(MINUTE * 2).await;
        cluster.source.set(mood);
        assert!(cluster.get(1, &key).await.is_err(), "nor beyond the time that is allowed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_runs_over_its_timeout_is_a_failure_too() {
    let cluster = Cluster::with(1, stale(Duration::ZERO, MINUTE)).await;
    let key = key("k");
    cluster.get(0, &key).await.unwrap();
    pass(MINUTE).await;
    cluster.source.hold(true);
    let begun = Instant::now();
    let answers = join_all((0..10).map(|_| found(&cluster, 0, &key))).await;
    assert!(answers.iter().all(|answer| *answer == (Source::Stale, 0)), "{answers:?}");
    assert_eq!((begun.elapsed().as_secs(), cluster.source.loads()), (5, 2));
    let stats = cluster.group(0).stats();
    assert_eq!((stats.stale_hits, stats.joined, stats.stale_on_error), (1, 9, 1));
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_what_the_owner_has_lost_is_answered_where_its_loader_fails() {
    let cluster = Cluster::with(2, stale(Duration::ZERO, MINUTE)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    let emptied = Settings { max_bytes: 4 << 20, ..stale(Duration::ZERO, MINUTE) };
    cluster.nodes[1].configure(vec![(emptied, cluster.source.clone())]);
    pass(MINUTE).await;
    cluster.source.set(Mood::Fails);
    assert!(cluster.get(1, &key).await.is_err());
    assert_eq!(found(&cluster, 0, &key).await, (Source::Stale, 0));
    assert_eq!(cluster.group(0).stats().stale_on_error, 1);
}

#[tokio::test(start_paused = true)]
async fn p1_a_purge_drops_what_is_stale_too() {
    let cluster = Cluster::with(3, stale(MINUTE, MINUTE * 9)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Stale);
    quiet(&cluster).await;
    pass(MINUTE).await;
    cluster.remove(2, &key).await.unwrap();
    cluster.source.set(Mood::Fails);
    for at in 0..3 {
        assert!(cluster.get(at, &key).await.is_err(), "node {at} has nothing to answer");
    }
}

#[tokio::test(start_paused = true)]
async fn p1_a_refresh_that_a_purge_overtakes_is_neither_kept_nor_joined() {
    let cluster = Cluster::with(2, stale(MINUTE, MINUTE)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.source.hold(true);
    assert_eq!(found(&cluster, 1, &key).await, (Source::Stale, 0));
    // The refresh has read the old value.
    cluster.source.started(2).await;
    cluster.source.bump(&key);
    cluster.remove(0, &key).await.unwrap();
    let after = [spawn_get(&cluster, 0, &key), spawn_get(&cluster, 1, &key)];
    cluster.source.started(3).await;
    cluster.source.hold(false);
    for get in after {
        assert_eq!(counter(&get.await.unwrap().unwrap()), 1);
    }
    quiet(&cluster).await;
    assert_eq!(found(&cluster, 1, &key).await, (Source::Main, 1));
}

#[tokio::test(start_paused = true)]
async fn p1_a_load_that_fails_does_not_bring_back_what_was_purged_meanwhile() {
    let cluster = Cluster::with(2, stale(Duration::ZERO, MINUTE * 9)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.source.hold(true);
    let before = [spawn_get(&cluster, 0, &key), spawn_get(&cluster, 1, &key)];
    cluster.source.started(2).await;
    quiet_until_fetched(&cluster).await;
    cluster.remove(0, &key).await.unwrap();
    let after = [spawn_get(&cluster, 0, &key), spawn_get(&cluster, 1, &key)];
    cluster.source.started(3).await;
    cluster.source.set(Mood::Fails);
    cluster.source.hold(false);
    for get in before.into_iter().chain(after) {
        assert!(get.await.unwrap().is_err());
    }
    assert_eq!(cluster.group(0).stats().stale_on_error + cluster.group(1).stats().stale_on_error, 0);
}

/// The first node's Get has come to the owner.
async fn quiet_until_fetched(cluster: &Cluster) {
    eventually(|| cluster.group(1).stats().peer_gets == 3).await;
}

#[tokio::test(start_paused = true)]
async fn p1_nor_does_a_node_that_was_no_member_meanwhile() {
    let mut cluster = Cluster::with(2, stale(Duration::ZERO, MINUTE * 9)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.source.hold(true);
    let before = spawn_get(&cluster, 1, &key);
    cluster.source.started(2).await;
    let members = cluster.members.clone();
    cluster.adopt(2, members[..1].to_vec());
    cluster.adopt(3, members);
    cluster.source.set(Mood::Fails);
    cluster.source.hold(false);
    assert!(before.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_ours_is_refreshed_by_its_new_owner() {
    let mut cluster = Cluster::with(2, stale(MINUTE, Duration::ZERO)).await;
    let key = cluster.key_of(&[1, 0]);
    cluster.get(1, &key).await.unwrap();
    let members = cluster.members.clone();
    let draining = groupcache_ring::Member { state: groupcache_ring::State::Draining, ..members[1].clone() };
    cluster.adopt(2, vec![members[0].clone(), draining]);
    pass(MINUTE).await;
    // The new owner has taken it over, answers it stale, and refreshes it.
    assert_eq!(found(&cluster, 1, &key).await.0, Source::Stale);
    eventually(|| cluster.group(0).stats().loads == 1).await;
    assert_eq!(cluster.group(1).stats().loads, 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_loads_in_place_of_the_owner_is_never_stale() {
    let cluster = Cluster::with(2, stale(MINUTE, MINUTE)).await;
    let key = cluster.key_of(&[1, 0]);
    cluster.network.cut("n1");
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Loader);
    assert_eq!(found(&cluster, 0, &key).await.0, Source::Main);
    pass(Duration::from_secs(3)).await;
    cluster.source.set(Mood::Fails);
    assert!(cluster.get(0, &key).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn how_stale_is_allowed_changes_live() {
    let cluster = Cluster::with(1, stale(MINUTE, Duration::ZERO)).await;
    cluster.get(0, &key("k")).await.unwrap();
    pass(MINUTE).await;
    let failing = Arc::new(FnLoader::new("down", |_| async {
        Err(groupcache_group::loader::LoadError::Failed { code: 14, message: "down".into() })
    }));
    cluster.nodes[0].configure(vec![(stale(Duration::ZERO, Duration::ZERO), failing)]);
    assert!(cluster.get(0, &key("k")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn every_get_of_a_stale_value_ends_in_one_way() {
    let settings = Settings { early_refresh_percent: 20, ..stale(MINUTE / 4, MINUTE) };
    let cluster = Cluster::with(3, settings).await;
    let keys: Vec<_> = (0..30).map(|n| key(&format!("key-{n}"))).collect();
    let mut asked = 0;
    for round in 0..60 {
        cluster.source.set(if round % 5 < 3 { Mood::Flaky } else { Mood::Fails });
        cluster.source.hold(round % 7 == 6);
        let soon = Instant::now() + Duration::from_millis(50);
        join_all((0..120).map(|n| cluster.get_by(n % 3, &keys[n % 30], soon))).await;
        asked += 120;
        cluster.source.hold(false);
        pass(Duration::from_secs(9)).await;
    }
    quiet(&cluster).await;
    let mut gets = 0;
    for at in 0..3 {
        let s = cluster.group(at).stats();
        let ends = s.main_hits + s.hot_hits + s.stale_hits + s.fetches + s.loaded + s.joined + s.failed;
        let ends = ends + s.not_ready + s.deadline_exceeded + s.abandoned;
        assert_eq!(s.gets + s.peer_gets, ends, "{s:?}");
        assert!(s.stale_hits > 0 && s.stale_on_error > 0 && s.refreshes > s.refresh_failures, "{s:?}");
        gets += s.gets;
    }
    assert_eq!(gets, asked);
}

/// A fetch that is held until its own end.
#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_in_time_is_a_failure_too() {
    let cluster = Cluster::with(2, stale(Duration::ZERO, MINUTE)).await;
    let key = cluster.key_of(&[1]);
    held_everywhere(&cluster, &key).await;
    pass(MINUTE).await;
    cluster.network.set(Leg::FetchReply, "n1", Hold::Held);
    assert_eq!(found(&cluster, 0, &key).await, (Source::Stale, 0));
}
