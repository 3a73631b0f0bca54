//! Taking over: what a node has come to own comes to it unasked, what was used last first, and never over a purge.

use std::time::Duration;

use groupcache_group::group::{Origin, Settings, Source};
use groupcache_group::value::Key;
use groupcache_ring::State;

use crate::network::{Cluster, Hold, Leg, WINDOW, in_time, member, settings};
use crate::peeks::{four, keys_that_move, three_of_four};
use crate::source::counter;

fn without_peeks(cluster: &Cluster) {
    for node in ["n0", "n1", "n2", "n3"] {
        cluster.network.set(Leg::Peek, node, Hold::Cut);
    }
}

/// Waits until the node has taken so many over.
async fn taken(cluster: &Cluster, at: usize, count: u64) {
    for _ in 0..1_000 {
        if cluster.group(at).stats().taken_over >= count {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", cluster.group(at).stats());
}

async fn load(cluster: &Cluster, at: usize, keys: &[Key]) {
    for key in keys {
        cluster.get(at, key).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_has_its_keys_before_anybody_asks_for_them() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(300);
    load(&cluster, 0, &keys).await;
    without_peeks(&cluster);
    cluster.adopt(4, four());
    taken(&cluster, 3, 300).await;
    for key in &keys {
        assert_eq!(cluster.get(3, key).await.unwrap().source, Source::Main);
    }
    let stats = cluster.group(3).stats();
    assert_eq!((stats.taken_over, stats.offered, stats.peeks), (300, 300, 0));
    assert_eq!(cluster.source.loads(), 300);
    let former = cluster.group(0).stats();
    assert_eq!((former.peer_gets, former.main_hits), (0, 0), "to be looked at is not to be used");
}

#[tokio::test(start_paused = true)]
async fn what_was_used_last_comes_first_and_the_last_part_of_the_cache_stays_free() {
    let mut cluster = three_of_four(settings()).await;
    let small = Settings { max_bytes: 70_000, hot_percent: 0, ..settings() };
    cluster.nodes[3].configure(vec![(small, cluster.source.clone())]);
    let keys = keys_that_move(400);
    load(&cluster, 0, &keys).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (used, unused): (Vec<_>, Vec<_>) = keys.iter().enumerate().partition(|(nth, _)| nth % 4 > 0);
    for (_, key) in &used {
        assert_eq!(cluster.get(0, key).await.unwrap().source, Source::Main);
    }
    cluster.adopt(4, four());
    taken(&cluster, 3, 100).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let held = |key: &Key| cluster.group(3).cached(key.as_bytes(), Origin::Client).is_some();
    assert_eq!(unused.iter().filter(|(_, key)| held(key)).count(), 0);
    assert!(used.iter().filter(|(_, key)| held(key)).count() > 100);
    let bytes = cluster.group(3).sizes().main_bytes;
    assert!((70_000 * 3 / 4..=70_000 * 7 / 8 + 400).contains(&bytes), "{bytes}");
}

#[tokio::test(start_paused = true)]
async fn values_too_large_for_one_answer_come_in_several() {
    let mut cluster = three_of_four(Settings { max_bytes: 32 << 20, ..settings() }).await;
    let keys = keys_that_move(20);
    *cluster.source.mood.lock() = crate::source::Mood::Big(100_000);
    load(&cluster, 0, &keys).await;
    cluster.adopt(4, four());
    taken(&cluster, 3, 20).await;
    assert_eq!(cluster.network.count(Leg::PeekMany, "n0"), 10, "two fit into 256 KiB");
}

/// The value is read before the purge and arrives after it.
#[tokio::test(start_paused = true)]
async fn k1_a_remove_during_a_take_over_is_not_undone() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(3);
    load(&cluster, 0, &keys).await;
    cluster.network.set(Leg::PeekManyReply, "n0", Hold::Held);
    cluster.adopt(4, four());
    cluster.network.passed(Leg::PeekManyReply, "n0", 1).await;
    cluster.source.bump(&keys[0]);
    cluster.remove(1, &keys[0]).await.unwrap();
    cluster.network.set(Leg::PeekManyReply, "n0", Hold::Open);
    taken(&cluster, 3, 2).await;
    assert_eq!(cluster.group(3).stats().fenced, 1);
    assert_eq!(counter(&cluster.get(3, &keys[0]).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn k2_what_is_in_its_window_is_not_taken_over() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(3);
    load(&cluster, 0, &keys).await;
    cluster.network.set(Leg::PeekMany, "n0", Hold::Cut);
    cluster.adopt(4, four());
    cluster.network.passed(Leg::PeekMany, "n0", 1).await;
    cluster.network.set(Leg::Purge, "n0", Hold::Held);
    cluster.source.bump(&keys[0]);
    let (group, removed) = (cluster.group(3), keys[0].clone());
    let remove = tokio::spawn(async move { group.remove(vec![removed], None, in_time()).await });
    cluster.network.passed(Leg::Purge, "n0", 1).await;
    // The former owner still has the old value, and is asked now.
    cluster.network.set(Leg::PeekMany, "n0", Hold::Open);
    taken(&cluster, 3, 2).await;
    cluster.network.set(Leg::Purge, "n0", Hold::Open);
    remove.await.unwrap().unwrap();
    tokio::time::sleep(WINDOW).await;
    assert_eq!(counter(&cluster.get(3, &keys[0]).await.unwrap()), 1);
    assert_eq!(cluster.group(3).stats().taken_over, 2);
}

#[tokio::test(start_paused = true)]
async fn k4_a_process_that_has_only_just_begun_takes_over_when_its_first_window_has_closed() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(100);
    load(&cluster, 0, &keys).await;
    cluster.replace(3, 3, &settings());
    cluster.adopt(4, four());
    tokio::time::sleep(WINDOW / 2).await;
    assert_eq!(cluster.group(3).stats().taken_over, 0);
    taken(&cluster, 3, 100).await;
}

#[tokio::test(start_paused = true)]
async fn a_load_that_was_quicker_stays() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(2);
    load(&cluster, 0, &keys).await;
    without_peeks(&cluster);
    cluster.network.set(Leg::PeekManyReply, "n0", Hold::Held);
    cluster.adopt(4, four());
    cluster.network.passed(Leg::PeekManyReply, "n0", 1).await;
    cluster.source.bump(&keys[0]);
    assert_eq!(counter(&cluster.get(3, &keys[0]).await.unwrap()), 1);
    cluster.network.set(Leg::PeekManyReply, "n0", Hold::Open);
    taken(&cluster, 3, 1).await;
    assert_eq!(counter(&cluster.get(3, &keys[0]).await.unwrap()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_take_over_ends_with_the_next_change() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(2);
    load(&cluster, 0, &keys).await;
    cluster.network.set(Leg::Keys, "n0", Hold::Held);
    cluster.adopt(4, four());
    cluster.network.passed(Leg::Keys, "n0", 1).await;
    let leaves = |at| member(at, if at == 1 { State::Draining } else { State::Active });
    cluster.adopt(5, (0..4).map(leaves).collect());
    cluster.network.set(Leg::Keys, "n0", Hold::Open);
    taken(&cluster, 3, 2).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(cluster.group(3).stats().offered, 2, "once, to the later one");
}

/// A member that has not heard of the change does not think that these keys are the asker's.
#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_be_asked_at_first_is_asked_again_and_a_dead_one_is_passed_over() {
    let mut cluster = three_of_four(settings()).await;
    let keys = keys_that_move(5);
    load(&cluster, 0, &keys).await;
    cluster.network.set(Leg::Keys, "n1", Hold::Held);
    cluster.network.set(Leg::Keys, "n0", Hold::Cut);
    cluster.adopt(4, four());
    cluster.network.passed(Leg::Keys, "n0", 3).await;
    cluster.network.set(Leg::Keys, "n0", Hold::Open);
    taken(&cluster, 3, 5).await;
    // Nothing comes from the dead one, and the last one has its turn.
    cluster.network.passed(Leg::Keys, "n2", 1).await;
}
