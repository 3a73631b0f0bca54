//! Membership: what a node may keep in which state, and what becomes of it when that changes.

use std::time::Duration;

use groupcache_group::group::{GetError, Origin, Source};
use groupcache_ring::State;
use tokio::time::Instant;

use crate::network::{Cluster, Hold, Leg, eventually, in_time, key, member, view};

#[tokio::test(start_paused = true)]
async fn g6_a_joining_node_answers_and_keeps_nothing() {
    let mut cluster = Cluster::of(2).await;
    cluster.adopt(2, vec![member(0, State::Joining), member(1, State::Active)]);
    for _ in 0..4 {
        assert_eq!(cluster.get(0, &key("k")).await.unwrap().source, Source::Peer);
        let as_owner = cluster.group(0).get(key("k"), Origin::Peer, in_time()).await.unwrap();
        assert_eq!((as_owner.source, as_owner.keep), (Source::Loader, false));
    }
    let sizes = cluster.group(0).sizes();
    assert_eq!((sizes.main_entries, sizes.hot_entries), (0, 0));
    assert_eq!(cluster.network.count(Leg::Fetch, "n0"), 0, "it owns nothing");
}

#[tokio::test(start_paused = true)]
async fn k3_nobody_joins_what_a_joining_node_starts() {
    let mut cluster = Cluster::of(2).await;
    cluster.adopt(2, vec![member(0, State::Joining), member(1, State::Active)]);
    cluster.source.hold(true);
    let get = || {
        let group = cluster.group(0);
        tokio::spawn(async move { group.get(key("k"), Origin::Peer, in_time()).await })
    };
    let first = get();
    cluster.source.started(1).await;
    let gets = [first, get()];
    eventually(|| cluster.group(0).sizes().flights == 2).await;
    assert_eq!(cluster.source.loads(), 1, "the second waits for its turn");
    cluster.source.hold(false);
    for get in gets {
        assert!(get.await.unwrap().is_ok());
    }
    assert_eq!(cluster.source.loads(), 2, "it joined nothing that was sent before it came");
    let gets = [(), ()].map(|()| {
        let group = cluster.group(0);
        tokio::spawn(async move { group.get(key("k"), Origin::Client, in_time()).await })
    });
    for get in gets {
        get.await.unwrap().unwrap();
    }
    assert_eq!(cluster.network.count(Leg::Fetch, "n1"), 2);
}

#[tokio::test(start_paused = true)]
async fn k3_what_was_started_while_joining_is_not_kept_once_active() {
    let mut cluster = Cluster::of(2).await;
    cluster.adopt(2, vec![member(0, State::Joining), member(1, State::Active)]);
    cluster.source.hold(true);
    let group = cluster.group(0);
    let get = tokio::spawn(async move { group.get(key("k"), Origin::Peer, in_time()).await });
    cluster.source.started(1).await;
    cluster.adopt(3, vec![member(0, State::Active), member(1, State::Active)]);
    cluster.source.hold(false);
    assert!(!get.await.unwrap().unwrap().keep);
    assert_eq!(cluster.group(0).sizes().main_entries, 0);
}

#[tokio::test(start_paused = true)]
async fn g2_a_node_that_is_no_longer_a_member_drops_what_it_holds_at_once() {
    let mut cluster = Cluster::of(2).await;
    let all = cluster.members.clone();
    let (own, other) = (cluster.key_of(&[0]), cluster.key_of(&[1]));
    for _ in 0..3 {
        cluster.get(0, &own).await.unwrap();
        cluster.get(0, &other).await.unwrap();
    }
    cluster.source.hold(true);
    let group = cluster.group(0);
    let begun = tokio::spawn({
        let group = group.clone();
        async move { group.get(key("begun before"), Origin::Peer, in_time()).await }
    });
    cluster.source.started(3).await;
    cluster.adopt(2, all[1..].to_vec());
    assert_eq!((group.sizes().main_entries, group.sizes().hot_entries), (0, 0));
    cluster.adopt(3, all);
    cluster.source.hold(false);
    assert!(!begun.await.unwrap().unwrap().keep, "begun before the lapse, landed after it");
    assert_eq!(group.sizes().main_entries, 0);
    cluster.serving().await;
    assert!(cluster.get(0, &own).await.unwrap().keep);
}

#[tokio::test(start_paused = true)]
async fn a_draining_node_still_answers_from_what_it_holds() {
    let mut cluster = Cluster::of(2).await;
    let own = cluster.key_of(&[0]);
    cluster.get(0, &own).await.unwrap();
    cluster.adopt(2, vec![member(0, State::Draining), member(1, State::Active)]);
    cluster.serving().await;
    assert_eq!(cluster.get(0, &own).await.unwrap().source, Source::Main);
    let new = key("new");
    assert_eq!(cluster.get(0, &new).await.unwrap().source, Source::Peer);
}

#[tokio::test(start_paused = true)]
async fn an_older_view_is_passed_over() {
    let mut cluster = Cluster::of(2).await;
    let all = cluster.members.clone();
    cluster.adopt(5, all.clone());
    cluster.nodes[0].adopt(view("n0", 4, &all[1..]));
    assert_eq!(cluster.nodes[0].view().unwrap().version().sequence, 5);
    assert_eq!(cluster.group(0).view().unwrap().version().sequence, 5);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_does_not_own_it_keeps_for_a_moment_only() {
    let cluster = Cluster::of(2).await;
    let other = cluster.key_of(&[1]);
    let group = cluster.group(0);
    assert!(group.get(other.clone(), Origin::Peer, in_time()).await.unwrap().keep);
    assert!(group.cached(other.as_bytes(), Origin::Peer).is_some());
    tokio::time::advance(Duration::from_secs(3)).await;
    assert!(group.cached(other.as_bytes(), Origin::Peer).is_none());
    eventually(|| group.sizes().flights == 0).await;
}

/// Another membership than the one before: one more node joins.
fn one_more_joins(cluster: &mut Cluster, sequence: u64) {
    let mut members = cluster.members.clone();
    members.push(member(members.len(), State::Joining));
    cluster.adopt(sequence, members);
}

#[tokio::test(start_paused = true)]
async fn a_get_waits_a_moment_for_the_grants_of_a_new_view_and_does_not_load_what_is_here() {
    let mut cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[2]);
    cluster.get(2, &key).await.unwrap();
    cluster.network.hold_beats();
    one_more_joins(&mut cluster, 2);

    let begun = Instant::now();
    let open = async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        for node in ["n0", "n1", "n2"] {
            cluster.network.set(Leg::Beat, node, Hold::Open);
        }
    };
    let asked = [key.clone(), key.clone()];
    let (one, many, other, ()) =
        tokio::join!(cluster.get(2, &key), cluster.get_many(2, &asked), cluster.get(0, &key), open);

    assert_eq!((one.unwrap().source, begun.elapsed()), (Source::Main, Duration::from_millis(30)));
    assert!(many.iter().all(|answer| answer.as_ref().unwrap().source == Source::Main), "{many:?}");
    assert_eq!(other.unwrap().source, Source::Peer, "who asks the owner waits there");
    assert_eq!((cluster.source.loads_of(&key), cluster.group(2).stats().passed_through), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_get_does_not_wait_for_grants_that_do_not_come() {
    let mut cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[2]);
    cluster.get(2, &key).await.unwrap();
    cluster.network.hold_beats();
    one_more_joins(&mut cluster, 2);

    for waits in [100, 0] {
        let begun = Instant::now();
        let answer = cluster.get(2, &key).await.unwrap();
        assert_eq!((answer.source, answer.keep), (Source::Loader, false));
        assert_eq!(begun.elapsed(), Duration::from_millis(waits));
    }
    for node in ["n0", "n1", "n2"] {
        cluster.network.set(Leg::Beat, node, Hold::Open);
    }
    eventually(|| cluster.group(2).cached(key.as_bytes(), Origin::Client).is_some()).await;
    cluster.network.hold_beats();
    one_more_joins(&mut cluster, 3);
    let late = cluster.get_by(2, &key, Instant::now() + Duration::from_millis(20)).await;
    assert_eq!(late.unwrap_err(), GetError::DeadlineExceeded, "its deadline comes first");
}
