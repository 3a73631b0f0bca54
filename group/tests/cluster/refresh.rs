//! Refreshes ahead of time: keys in use never wait for their loader again, and nobody loads more than once for it.

use std::time::Duration;

use futures::future::join_all;
use groupcache_group::group::{Settings, Source};
use tokio::time::Instant;

use crate::network::{Cluster, eventually, key, pass, settings};
use crate::source::{Mood, counter};

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

/// A minute, less a tenth for jitter, and the last quarter of that to be refreshed in.
fn early() -> Settings {
    Settings { ttl: Some(MINUTE), early_refresh_percent: 25, ..settings() }
}

async fn landed(cluster: &Cluster) {
    eventually(|| (0..cluster.nodes.len()).all(|at| cluster.group(at).sizes().flights == 0)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_hit_at_the_owner_late_in_the_ttl_refreshes_once_and_waits_for_nothing() {
    let cluster = Cluster::with(2, early()).await;
    let key = cluster.key_of(&[1]);
    cluster.get(1, &key).await.unwrap();
    pass(MINUTE * 6 / 10).await;
    cluster.get(1, &key).await.unwrap();
    assert_eq!(cluster.source.loads(), 1, "not before the last quarter");
    pass(MINUTE * 2 / 10).await;
    cluster.source.bump(&key);
    cluster.source.hold(true);
    let begun = Instant::now();
    let answers = join_all((0..100).map(|_| cluster.get(1, &key))).await;
    assert!(answers.iter().all(|a| a.as_ref().unwrap().source == Source::Main));
    assert_eq!((begun.elapsed(), cluster.group(1).stats().main_hits), (Duration::ZERO, 101));
    cluster.source.started(2).await;
    assert_eq!((cluster.source.loads(), cluster.group(1).stats().refreshes), (2, 1));
    cluster.source.hold(false);
    landed(&cluster).await;
    let renewed = cluster.get(1, &key).await.unwrap();
    assert_eq!((renewed.source, counter(&renewed)), (Source::Main, 1));
    assert!(renewed.entry.remaining(Instant::now()).unwrap() > MINUTE / 2, "with a whole ttl before it");
}

#[tokio::test(start_paused = true)]
async fn keys_that_nobody_asks_for_and_copies_of_other_nodes_are_not_refreshed() {
    let cluster = Cluster::with(2, early()).await;
    let key = cluster.key_of(&[1]);
    for _ in 0..3 {
        cluster.get(0, &key).await.unwrap();
    }
    pass(MINUTE * 85 / 100).await;
    for _ in 0..5 {
        assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Hot);
    }
    landed(&cluster).await;
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().refreshes), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_entry_and_is_tried_again_a_second_later() {
    let cluster = Cluster::with(1, early()).await;
    let key = key("k");
    cluster.get(0, &key).await.unwrap();
    pass(MINUTE * 8 / 10).await;
    cluster.source.set(Mood::Fails);
    for _ in 0..10 {
        assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Main);
        landed(&cluster).await;
    }
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().refresh_failures), (2, 1));
    pass(SECOND).await;
    assert_eq!(cluster.get(0, &key).await.unwrap().source, Source::Main);
    landed(&cluster).await;
    assert_eq!((cluster.source.loads(), cluster.group(0).stats().refresh_failures), (3, 2));
    assert_eq!(cluster.group(0).stats().stale_on_error, 0, "nothing was stale");
}

#[tokio::test(start_paused = true)]
async fn refreshes_leave_the_loader_places_for_loads_that_are_waited_for() {
    let cluster = Cluster::with(1, early()).await;
    let keys: Vec<_> = (0..100).map(|n| key(&format!("{n}"))).collect();
    join_all(keys.iter().map(|key| cluster.get(0, key))).await;
    pass(MINUTE * 85 / 100).await;
    cluster.source.hold(true);
    for key in &keys {
        assert_eq!(cluster.get(0, key).await.unwrap().source, Source::Main);
    }
    cluster.source.started(132).await;
    let stats = cluster.group(0).stats();
    assert_eq!((cluster.source.loads(), stats.refreshes, stats.loads_shed), (132, 32, 68));
    cluster.source.hold(false);
    landed(&cluster).await;
    pass(SECOND).await;
    join_all(keys.iter().map(|key| cluster.get(0, key))).await;
    landed(&cluster).await;
    assert_eq!(cluster.group(0).stats().refreshes, 64, "others have their turn");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_keys_written_together_do_not_expire_together() {
    let cluster = Cluster::with(1, Settings { ttl: Some(MINUTE), ..settings() }).await;
    let keys: Vec<_> = (0..1_000).map(|n| key(&format!("{n}"))).collect();
    join_all(keys.iter().map(|key| cluster.get(0, key))).await;
    pass(MINUTE * 9 / 10).await;
    let slice = MINUTE / 120;
    let mut most = 0;
    for _ in 0..12 {
        let before = cluster.source.loads();
        pass(slice).await;
        join_all(keys.iter().map(|key| cluster.get(0, key))).await;
        most = most.max(cluster.source.loads() - before);
    }
    assert_eq!(cluster.source.loads(), 2_000, "each once");
    assert!(most < 2 * 1_000 / 12, "{most} loads in one of twelve slices");
}
