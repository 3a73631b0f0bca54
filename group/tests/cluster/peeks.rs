//! Peeks: the former owner of a key is asked before the loader, and no old value comes back by that.

use std::time::Duration;

use groupcache_group::group::{Answer, GetError, Origin, Settings, Source};
use groupcache_group::value::Key;
use groupcache_ring::{Member, Ring, State};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::network::{Cluster, GROUP, Hold, Leg, in_time, key, member, settings};
use crate::source::counter;

const PEEK_TIME: Duration = Duration::from_millis(50);

/// Three nodes that serve and know of a fourth one.
pub(crate) async fn three_of_four(settings: Settings) -> Cluster {
    let mut cluster = Cluster::with(4, settings).await;
    let three = cluster.members[..3].to_vec();
    cluster.adopt(2, three.clone());
    // The fourth one's former rings are forgotten.
    tokio::time::sleep(Duration::from_secs(70)).await;
    cluster.adopt(3, three.into_iter().chain([member(3, State::Joining)]).collect());
    cluster.serving().await;
    cluster
}

pub(crate) fn four() -> Vec<Member> {
    (0..4).map(|at| member(at, State::Active)).collect()
}

/// Nobody lists what it holds, so nothing is taken over.
pub(crate) fn without_take_over(cluster: &Cluster) {
    for node in ["n0", "n1", "n2", "n3"] {
        cluster.network.set(Leg::Keys, node, Hold::Cut);
    }
}

/// Keys that the first node owns among three, and the fourth one among four.
pub(crate) fn keys_that_move(count: usize) -> Vec<Key> {
    let (all, three) = (four(), four()[..3].to_vec());
    let (four, three) = (Ring::new(&all), Ring::new(&three));
    let moves = |key: &Key| three.owner(key.as_bytes()) == Some(0) && four.owner(key.as_bytes()) == Some(3);
    (0..).map(|n| key(&format!("key-{n}"))).filter(moves).take(count).collect()
}

pub(crate) fn spawn_get(cluster: &Cluster, at: usize, key: &Key) -> JoinHandle<Result<Answer, GetError>> {
    let (group, key) = (cluster.group(at), key.clone());
    tokio::spawn(async move { group.get(key, Origin::Client, in_time()).await })
}

#[tokio::test(start_paused = true)]
async fn a_key_that_a_former_owner_holds_is_not_loaded_again() {
    let mut cluster = three_of_four(Settings { ttl: Some(Duration::from_secs(300)), ..settings() }).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    let loaded = cluster.get(0, key).await.unwrap().entry;
    cluster.adopt(4, four());
    cluster.serving().await;
    let peeked = cluster.get(3, key).await.unwrap();
    assert_eq!((peeked.source, peeked.keep), (Source::Peer, true));
    assert_eq!((peeked.entry.expires, peeked.entry.loaded), (loaded.expires, loaded.loaded));
    assert_eq!(cluster.get(3, key).await.unwrap().source, Source::Main);
    let stats = cluster.group(3).stats();
    assert_eq!((stats.peeks, stats.peek_hits, stats.fetches), (1, 1, 1));
    assert_eq!(cluster.source.loads(), 1);
    // A look is no Get.
    assert_eq!(cluster.group(0).stats().peer_gets, 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_the_new_owner_gets_what_the_former_one_holds() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    cluster.get(0, key).await.unwrap();
    cluster.adopt(4, four());
    cluster.serving().await;
    let fetched = cluster.get(1, key).await.unwrap();
    assert_eq!((fetched.source, fetched.keep), (Source::Peer, true));
    assert_eq!(cluster.source.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn several_keys_at_once_are_peeked_too_and_only_the_rest_is_loaded() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(100);
    without_take_over(&cluster);
    for key in &keys[..80] {
        cluster.get(0, key).await.unwrap();
    }
    cluster.adopt(4, four());
    cluster.serving().await;
    let answers = cluster.group(3).get_many(keys, Origin::Client, in_time(), usize::MAX).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(cluster.source.loads(), 100);
    assert_eq!((cluster.group(3).stats().peeks, cluster.group(3).stats().peek_hits), (100, 80));
}

#[tokio::test(start_paused = true)]
async fn what_no_former_owner_holds_is_loaded_and_a_minute_later_nobody_is_asked() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(2);
    cluster.adopt(4, four());
    cluster.serving().await;
    assert_eq!(cluster.get(3, &keys[0]).await.unwrap().source, Source::Loader);
    assert_eq!((cluster.group(3).stats().peeks, cluster.group(3).stats().peek_hits), (1, 0));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cluster.get(3, &keys[1]).await.unwrap().source, Source::Loader);
    assert_eq!(cluster.group(3).stats().peeks, 1);
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_is_dead_costs_one_deadline_and_is_then_left_in_peace() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(30);
    without_take_over(&cluster);
    cluster.adopt(4, four());
    cluster.serving().await;
    // It takes calls and never answers.
    cluster.network.set(Leg::Peek, "n0", Hold::Held);
    let begun = Instant::now();
    for key in &keys[..20] {
        assert_eq!(cluster.get(3, key).await.unwrap().source, Source::Loader);
    }
    let took = begun.elapsed();
    assert!(took >= PEEK_TIME && took <= PEEK_TIME + Duration::from_millis(5), "{took:?}");
    assert_eq!(cluster.network.count(Leg::Peek, "n0"), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.get(3, &keys[20]).await.unwrap();
    assert_eq!(cluster.network.count(Leg::Peek, "n0"), 2, "perhaps it is back");
}

#[tokio::test(start_paused = true)]
async fn k1_a_purge_between_a_peek_and_its_answer_fences_it() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    cluster.get(0, key).await.unwrap();
    cluster.adopt(4, four());
    cluster.serving().await;
    cluster.network.set(Leg::PeekReply, "n0", Hold::Held);
    let before = spawn_get(&cluster, 3, key);
    cluster.network.passed(Leg::PeekReply, "n0", 1).await;
    cluster.source.bump(key);
    cluster.remove(1, key).await.unwrap();
    let after = spawn_get(&cluster, 3, key);
    cluster.source.started(2).await;
    cluster.network.set(Leg::PeekReply, "n0", Hold::Open);
    let before = before.await.unwrap().unwrap();
    assert_eq!((counter(&before), before.keep), (0, false));
    assert_eq!(counter(&after.await.unwrap().unwrap()), 1, "it joins nothing from before");
    assert_eq!(counter(&cluster.get(3, key).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn k2_inside_a_keys_window_nobody_peeks() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    cluster.get(0, key).await.unwrap();
    cluster.adopt(4, four());
    cluster.serving().await;
    cluster.network.set(Leg::Purge, "n0", Hold::Held);
    cluster.source.bump(key);
    let (group, removed) = (cluster.group(3), key.clone());
    let remove = tokio::spawn(async move { group.remove(vec![removed], None, in_time()).await });
    cluster.network.passed(Leg::Purge, "n0", 1).await;
    // The former owner still has the old value.
    assert_eq!(cluster.get(3, key).await.unwrap().source, Source::Loader);
    cluster.network.set(Leg::Purge, "n0", Hold::Open);
    remove.await.unwrap().unwrap();
    assert_eq!(counter(&cluster.get(3, key).await.unwrap()), 1);
    assert_eq!(cluster.group(3).stats().peeks, 0);
}

#[tokio::test(start_paused = true)]
async fn k3_a_node_that_may_not_serve_copies_peeks_at_nobody() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    cluster.get(0, key).await.unwrap();
    cluster.network.hold_beats();
    cluster.adopt(4, four());
    assert_eq!(cluster.get(3, key).await.unwrap().source, Source::Loader);
    assert_eq!(cluster.group(3).stats().peeks, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_may_not_serve_copies_shows_none() {
    let mut cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[0]);
    cluster.get(0, &key).await.unwrap();
    assert!(cluster.nodes[0].held(GROUP, key.as_bytes()).is_some());
    // It still holds what it had, and waits for grants under the new membership.
    cluster.network.hold_beats();
    cluster.adopt(2, four()[..2].to_vec());
    assert_eq!(cluster.group(0).sizes().main_entries, 1);
    assert!(cluster.nodes[0].held(GROUP, key.as_bytes()).is_none());
    assert!(cluster.group(0).held_of(&[key]).is_none());
    assert!(cluster.group(0).keys_for("n1", 10).await.is_none());
}

/// Somebody without grants may join such a load until it calls the loader, and must not get what was held before.
#[tokio::test(start_paused = true)]
async fn k3_a_load_that_was_boarded_without_grants_peeks_at_nobody_when_they_come() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    cluster.get(0, key).await.unwrap();
    cluster.network.hold_beats();
    cluster.adopt(4, four());
    // They are waited for no longer.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let group = cluster.group(3);
    let mut get = Box::pin(group.get(key.clone(), Origin::Client, in_time()));
    assert!(futures::poll!(&mut get).is_pending(), "it is boarded, and its load has not begun");
    let grants = cluster.nodes[3].grants();
    let term = grants.to_ask().unwrap().term;
    for grantor in ["n0", "n1"] {
        cluster.nodes[3].granted(grantor, term, Instant::now(), Duration::from_secs(5));
    }
    assert!(grants.serves(Instant::now()));
    assert_eq!(get.await.unwrap().source, Source::Loader);
    assert_eq!(group.stats().peeks, 0);
}

#[tokio::test(start_paused = true)]
async fn k3_a_load_that_was_boarded_with_grants_peeks_at_nobody_once_they_are_gone() {
    let mut cluster = three_of_four(settings()).await;
    let key = &keys_that_move(1)[0];
    without_take_over(&cluster);
    cluster.get(0, key).await.unwrap();
    cluster.adopt(4, four());
    cluster.serving().await;
    let group = cluster.group(3);
    let mut get = Box::pin(group.get(key.clone(), Origin::Client, in_time()));
    assert!(futures::poll!(&mut get).is_pending(), "it is boarded, and its load has not begun");
    cluster.network.hold_beats();
    let leaves = |at| member(at, if at == 1 { State::Draining } else { State::Active });
    cluster.adopt(5, (0..4).map(leaves).collect());
    assert_eq!(get.await.unwrap().source, Source::Loader);
    assert_eq!(group.stats().peeks, 0);
}
