//! Sources that lag behind, and sources that number their values: what they bring late is not kept.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{Settings, Source};

use groupcache_group::peer::Purged;

use crate::network::{Cluster, WINDOW, eventually, key, pass, settings};
use crate::source::counter;

const LAG: Duration = Duration::from_secs(5);

async fn lagging(nodes: usize) -> Cluster {
    let cluster =
        Cluster::with(nodes, Settings { source_lag: LAG, load_timeout: LAG * 10, ..settings() }).await;
    // A process begins as if all keys had just been purged.
    pass(LAG).await;
    cluster
}

#[tokio::test(start_paused = true)]
async fn what_is_loaded_while_the_source_may_lag_is_answered_and_shared_but_not_kept() {
    let cluster = lagging(3).await;
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    cluster.remove(0, &key).await.unwrap();
    let answers = join_all((0..300).map(|n| cluster.get(n % 3, &key))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert!(cluster.source.loads() - 1 <= 3, "{} loads", cluster.source.loads());
    pass(LAG - Duration::from_millis(1)).await;
    for at in 0..3 {
        cluster.get(at, &key).await.unwrap();
        let sizes = cluster.group(at).sizes();
        assert_eq!(sizes.main_entries + sizes.hot_entries, 0, "node {at}");
    }
    assert!(cluster.group(1).stats().fenced > 0);
    cluster.source.bump(&key);
    pass(Duration::from_millis(1)).await;
    assert_eq!(counter(&cluster.get(1, &key).await.unwrap()), 1);
    assert_eq!(cluster.get(1, &key).await.unwrap().source, Source::Main);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_starts_in_the_lag_is_not_kept_even_if_it_ends_after_it() {
    let cluster = lagging(1).await;
    let key = key("k");
    cluster.remove(0, &key).await.unwrap();
    pass(LAG - Duration::from_millis(1)).await;
    cluster.source.hold(true);
    let group = cluster.group(0);
    let deadline = crate::network::in_time();
    let get = tokio::spawn({
        let key = key.clone();
        async move { group.get(key, groupcache_group::group::Origin::Client, deadline).await }
    });
    cluster.source.started(1).await;
    pass(LAG).await;
    cluster.source.hold(false);
    assert!(!get.await.unwrap().unwrap().keep);
    assert_eq!(cluster.group(0).sizes().main_entries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_new_process_keeps_nothing_before_the_lag_is_over_and_other_keys_do_not_lag() {
    let cluster = Cluster::just_born(1, &Settings { source_lag: LAG, load_timeout: LAG * 10, ..settings() });
    assert!(!cluster.get(0, &key("k")).await.unwrap().keep);
    pass(LAG).await;
    cluster.remove(0, &key("k")).await.unwrap();
    cluster.serving().await;
    assert!(cluster.get(0, &key("other")).await.unwrap().keep);
    assert!(!cluster.get(0, &key("k")).await.unwrap().keep);
}

#[tokio::test(start_paused = true)]
async fn what_the_source_calls_older_than_a_remove_is_never_kept() {
    let cluster = Cluster::of(2).await;
    cluster.source.versioned.store(true, Ordering::Relaxed);
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    for at in 0..2 {
        cluster.group(at).purge(&Purged::Keys([key.clone()].into()), WINDOW, Some(1));
    }
    // A replica that is behind, for as long as it likes.
    pass(WINDOW * 60).await;
    for _ in 0..3 {
        let answer = cluster.get(0, &key).await.unwrap();
        assert_eq!((counter(&answer), answer.keep, answer.source), (0, false, Source::Peer));
    }
    assert_eq!(cluster.group(1).stats().fenced, 3);
    assert_eq!(cluster.group(1).sizes().main_entries + cluster.group(0).sizes().hot_entries, 0);
    cluster.source.bump(&key);
    cluster.get(1, &key).await.unwrap();
    assert_eq!(cluster.get(1, &key).await.unwrap().source, Source::Main);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_reads_an_older_version_does_not_replace_the_newer_one() {
    let minute = Duration::from_secs(60);
    let fresh = Settings { ttl: Some(minute), stale_while_revalidate: minute, ..settings() };
    let cluster = Cluster::with(1, fresh).await;
    cluster.source.versioned.store(true, Ordering::Relaxed);
    let key = key("k");
    cluster.source.bump(&key);
    cluster.get(0, &key).await.unwrap();
    cluster.source.forget(&key);
    pass(minute).await;
    assert_eq!(counter(&cluster.get(0, &key).await.unwrap()), 1);
    eventually(|| cluster.source.loads() == 2 && cluster.group(0).sizes().flights == 0).await;
    let answer = cluster.get(0, &key).await.unwrap();
    assert_eq!((answer.source, counter(&answer)), (Source::Stale, 1));
    assert_eq!(cluster.group(0).stats().fenced, 1);
}
