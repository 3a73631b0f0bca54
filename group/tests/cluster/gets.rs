//! Gets: one load for all, owners that cannot be reached, loads that fail, callers that go away.

use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{GetError, Origin, Source};
use groupcache_group::loader::LoadError;
use groupcache_group::value::Outcome;
use tokio::time::Instant;

use crate::network::{Cluster, GROUP, Hold, Leg, eventually, in_time, key, settings, view};
use crate::source::Mood;

#[tokio::test(start_paused = true)]
async fn a_thousand_gets_of_a_cold_key_at_three_nodes_are_one_load() {
    let cluster = Cluster::of(3).await;
    let key = key("cold");
    let answers = join_all((0..1000).map(|n| cluster.get(n % 3, &key))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_may_not_serve_yet_call_the_loader_once_at_a_time() {
    let cluster = Cluster::just_born(3, &settings());
    let key = key("cold");
    cluster.source.hold(true);
    let gets: Vec<_> = (0..1000)
        .map(|n| {
            let (group, key) = (cluster.group(n % 3), key.clone());
            tokio::spawn(async move { group.get(key, Origin::Client, in_time()).await })
        })
        .collect();
    cluster.source.started(1).await;
    eventually(|| {
        (0..3).map(|at| cluster.group(at).stats().gets).sum::<u64>() == 1000
            && cluster.network.count(Leg::Fetch, "n0")
                + cluster.network.count(Leg::Fetch, "n1")
                + cluster.network.count(Leg::Fetch, "n2")
                > 600
    })
    .await;
    assert_eq!(cluster.source.loads(), 1);
    cluster.source.hold(false);
    for get in gets {
        assert!(!get.await.unwrap().unwrap().keep, "nothing may be kept");
    }
    assert_eq!(cluster.source.loads(), 2, "one under way, and one for all who came meanwhile");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_takes_nobody_along_and_the_load_is_kept() {
    let cluster = Cluster::of(1).await;
    let key = key("slow");
    cluster.source.hold(true);
    let group = cluster.group(0);
    let leader = tokio::spawn({
        let (group, key) = (group.clone(), key.clone());
        async move { group.get(key, Origin::Client, in_time()).await }
    });
    cluster.source.started(1).await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    eventually(|| group.stats().abandoned == 1).await;
    cluster.source.hold(false);
    eventually(|| group.sizes().main_entries == 1).await;
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Main);
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn every_get_ends_at_its_own_deadline() {
    let cluster = Cluster::of(2).await;
    cluster.source.hold(true);
    let key = cluster.key_of(&[1]);
    let begun = Instant::now();
    let waits = [30u64, 10, 20].map(|ms| {
        let (group, key) = (cluster.group(0), key.clone());
        async move {
            let deadline = begun + Duration::from_millis(ms);
            assert_eq!(group.get(key, Origin::Client, deadline).await, Err(GetError::DeadlineExceeded));
            assert!(Instant::now() <= deadline + Duration::from_millis(2));
        }
    });
    join_all(waits).await;
    assert_eq!(cluster.source.loads(), 1);
    assert_eq!(cluster.group(0).stats().deadline_exceeded, 3);
    assert_eq!(cluster.get_by(0, &key, begun).await, Err(GetError::DeadlineExceeded), "already over");
}

#[tokio::test(start_paused = true)]
async fn a_loader_that_never_answers_is_given_up_at_its_timeout() {
    let cluster = Cluster::of(1).await;
    cluster.source.hold(true);
    let begun = Instant::now();
    let error = cluster.get(0, &key("stuck")).await.unwrap_err();
    assert!(error.to_string().contains("source: no answer within 5s"), "{error}");
    assert_eq!(begun.elapsed().as_secs(), 5);
    eventually(|| cluster.group(0).sizes().flights == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_for_all_who_wait_and_frees_the_key() {
    let cluster = Cluster::of(2).await;
    cluster.source.set(Mood::Panics);
    let key = cluster.key_of(&[1]);
    let answers = join_all((0..20).map(|n| cluster.get(n % 2, &key))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert!(error.to_string().contains("source: the loader panicked"), "{error}");
    }
    assert_eq!(cluster.source.loads(), 1);
    cluster.source.set(Mood::Answers);
    assert!(cluster.get(0, &key).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn two_nodes_that_name_each_other_owner_do_not_hang() {
    let cluster = Cluster::of(2).await;
    // Each node sees the other as the only Active member.
    cluster.nodes[0].adopt(view("n0", 2, &cluster.members[1..]));
    cluster.nodes[1].adopt(view("n1", 2, &cluster.members[..1]));
    let key = key("crossed");
    let answers = join_all((0..10).map(|n| cluster.get(n % 2, &key))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn two_members_that_name_each_other_owner_do_not_hang() {
    let cluster = Cluster::of(2).await;
    let (a, b) = (&cluster.members[0], &cluster.members[1]);
    let draining = |m: &groupcache_ring::Member| groupcache_ring::Member {
        state: groupcache_ring::State::Draining,
        ..m.clone()
    };
    cluster.nodes[0].adopt(view("n0", 2, &[draining(a), b.clone()]));
    cluster.nodes[1].adopt(view("n1", 2, &[a.clone(), draining(b)]));
    let key = key("crossed");
    let answers = join_all((0..10).map(|n| cluster.get(n % 2, &key))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(cluster.source.loads() <= 2, "one for each that is taken for the owner");
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_owner_is_replaced_by_the_second_for_the_whole_cluster() {
    let cluster = Cluster::of(4).await;
    let key = cluster.key_of(&[0, 1]);
    cluster.network.cut("n0");
    let answers = join_all((0..300).map(|n| cluster.get(1 + n % 3, &key))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cluster.source.loads(), 1);
    assert_eq!(cluster.group(2).stats().second_owner_fetches, 1);
    let kept = cluster.group(1).cached(key.as_bytes(), Origin::Peer).unwrap().entry;
    assert!(
        kept.remaining(Instant::now()).unwrap() <= Duration::from_secs(3),
        "not for long: it is not the owner"
    );
}

#[tokio::test(start_paused = true)]
async fn with_both_owners_gone_a_node_loads_itself_and_keeps_it_a_moment() {
    let cluster = Cluster::of(4).await;
    let key = cluster.key_of(&[0, 1]);
    cluster.network.cut("n0");
    cluster.network.cut("n1");
    let answers = join_all((0..300).map(|n| cluster.get(2 + n % 2, &key))).await;
    assert!(answers.iter().all(|a| a.as_ref().unwrap().source == Source::Loader));
    assert_eq!(cluster.source.loads(), 2, "one for each node");
    assert_eq!(cluster.group(2).stats().fetch_failures, 2);
    assert_eq!(cluster.get(2, &key).await.unwrap().source, Source::Main);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(cluster.get(2, &key).await.unwrap().source, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_know_the_group_yet_is_passed_over() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1, 0]);
    cluster.nodes[1].configure(Vec::new());
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Loader);
}

#[tokio::test(start_paused = true)]
async fn no_such_key_and_a_failed_load_are_final_and_not_tried_again_here() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[1, 2]);
    cluster.source.set(Mood::NotFound);
    assert_eq!(cluster.get(0, &key).await.unwrap().entry.outcome, Outcome::NotFound);
    assert_eq!(cluster.source.loads(), 1);
    assert_eq!(cluster.group(0).stats().not_found, 1);
    cluster.source.set(Mood::Fails);
    let failed = LoadError::Failed { code: 14, message: "source: it is down".into() };
    assert_eq!(cluster.get(0, &key).await, Err(GetError::Load(failed)));
    assert_eq!(cluster.source.loads(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_answered_here_and_never_sent_on() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    let answer = cluster.group(0).get(key, Origin::Peer, in_time()).await.unwrap();
    assert_eq!(answer.source, Source::Loader);
    assert_eq!(cluster.network.count(Leg::Fetch, "n1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_nobody_waits_for_any_more_is_stopped() {
    let cluster = Cluster::of(2).await;
    let key = cluster.key_of(&[1]);
    cluster.network.set(Leg::Fetch, "n1", Hold::Held);
    let deadline = Instant::now() + Duration::from_millis(10);
    assert_eq!(cluster.get_by(0, &key, deadline).await, Err(GetError::DeadlineExceeded));
    eventually(|| cluster.group(0).sizes().flights == 0).await;
    assert_eq!(cluster.source.loads(), 0);
}

#[tokio::test(start_paused = true)]
async fn before_its_first_view_a_node_says_that_it_is_not_ready() {
    let cluster = Cluster::just_born(1, &settings());
    let groups = groupcache_group::groups::Groups::new(
        std::sync::Arc::new(groupcache_group::peer::NoPeers),
        groupcache_group::grants::Grants::unneeded(),
    );
    groups.configure(vec![(settings(), cluster.source.clone())]);
    let group = groups.get(GROUP).unwrap();
    assert_eq!(group.get(key("k"), Origin::Client, in_time()).await, Err(GetError::NotReady));
    assert_eq!(group.stats().not_ready, 1);
}

#[tokio::test(start_paused = true)]
async fn every_get_is_counted_once_and_ends_in_one_way() {
    let cluster = Cluster::of(3).await;
    for round in 0..6 {
        cluster.source.set(match round {
            0 | 1 => Mood::Answers,
            2 => Mood::NotFound,
            3 => Mood::Fails,
            4 => Mood::Big(3 << 20),
            _ => Mood::Panics,
        });
        let keys: Vec<_> = (0..40).map(|n| key(&format!("{}-{n}", round.max(1)))).collect();
        join_all((0..400).map(|n| cluster.get(n % 3, &keys[n % 40]))).await;
        cluster.source.hold(round == 4);
        let soon = Instant::now() + Duration::from_millis(50);
        join_all((0..30).map(|n| cluster.get_by(n % 3, &keys[n % 40], soon))).await;
        cluster.source.hold(false);
    }
    let mut gets = 0;
    for at in 0..3 {
        let s = cluster.group(at).stats();
        let ends = s.main_hits + s.hot_hits + s.stale_hits + s.fetches + s.loaded + s.joined + s.failed;
        let ends = ends + s.not_ready + s.deadline_exceeded + s.abandoned;
        assert_eq!(s.gets + s.peer_gets, ends, "{s:?}");
        assert!(s.joined > 0 && s.failed > 0 && s.fetches > 0 && s.loaded > 0, "{s:?}");
        gets += s.gets;
    }
    assert_eq!(gets, 6 * 430);
}
