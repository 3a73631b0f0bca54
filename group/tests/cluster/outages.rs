//! Removes while a node cannot be reached: it is barred, its grants run out, and until then nothing is promised.

use std::time::Duration;

use groupcache_group::grants::DEFAULT_BOUND;
use groupcache_group::group::{RemoveError, Source};
use tokio::time::Instant;

use crate::network::{Cluster, Hold, Leg, WINDOW, key};
use crate::source::counter;

/// A deadline that leaves time for everything.
fn patience() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn failed(result: Result<(), RemoveError>) -> Vec<(String, String)> {
    match result {
        Err(RemoveError::Partial(nodes)) => nodes.into_iter().map(|f| (f.node, f.reason)).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_remove_outlasts_a_node_that_cannot_be_reached_and_that_node_serves_nothing_old() {
    let cluster = Cluster::of(4).await;
    let key = cluster.key_of(&[2]);
    assert_eq!(counter(&cluster.get(2, &key).await.unwrap()), 0);
    // It reaches nobody and nobody reaches it: it asks in vain for grants.
    cluster.network.isolate("n2");
    cluster.source.bump(&key);
    let begun = Instant::now();
    cluster.group(0).remove(vec![key.clone()], None, patience()).await.unwrap();
    assert!(begun.elapsed() <= WINDOW * 2 + DEFAULT_BOUND * 65 / 64 + Duration::from_millis(20));
    assert_eq!(cluster.group(0).stats().removes_barred, 1);
    assert!(!cluster.nodes[2].grants().serves(Instant::now()));
    assert_eq!(counter(&cluster.get(2, &key).await.unwrap()), 1, "it passes through");
    assert_eq!(counter(&cluster.get(0, &key).await.unwrap()), 1);
    // The next ones find its grants run out: only the window is waited for.
    let begun = Instant::now();
    cluster.group(1).remove(vec![key.clone()], None, patience()).await.unwrap();
    assert!(begun.elapsed() <= WINDOW + Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_drops_what_it_missed_before_it_serves() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[2]);
    cluster.get(2, &key).await.unwrap();
    cluster.network.isolate("n2");
    cluster.source.bump(&key);
    cluster.group(0).remove(vec![key.clone()], None, patience()).await.unwrap();
    cluster.network.rejoin("n2");
    cluster.serving().await;
    assert_eq!(cluster.group(2).stats().lapses, 1);
    let again = cluster.get(2, &key).await.unwrap();
    assert_eq!((counter(&again), again.source), (1, Source::Loader));
    assert!(again.keep, "and keeps again");
}

#[tokio::test(start_paused = true)]
async fn without_enough_grantors_a_remove_fails_and_names_every_node() {
    let cluster = Cluster::of(4).await;
    let key = key("k");
    cluster.network.isolate("n1");
    cluster.network.set(Leg::Purge, "n2", Hold::Held);
    cluster.network.set(Leg::Bar, "n2", Hold::Held);
    let begun = Instant::now();
    let nodes = failed(cluster.group(0).remove(vec![key], None, patience()).await);
    assert_eq!(nodes.iter().map(|(node, _)| &**node).collect::<Vec<_>>(), ["n1", "n2"]);
    assert!(nodes[0].1.contains("n1 is cut off") && nodes[0].1.contains("too few grantors"), "{nodes:?}");
    assert!(nodes[1].1.contains("no answer before the deadline"), "{nodes:?}");
    assert!(begun.elapsed() <= WINDOW * 2 + Duration::from_millis(20));
    assert_eq!(cluster.group(0).stats().removes_partial, 1);
}

#[tokio::test(start_paused = true)]
async fn a_remove_ends_by_its_deadline_and_says_how_much_more_time_it_needs() {
    let cluster = Cluster::of(3).await;
    cluster.network.isolate("n2");
    let at = |ms| Instant::now() + Duration::from_millis(ms);
    let begun = Instant::now();
    assert_eq!(failed(cluster.group(0).remove(vec![key("k")], None, at(100)).await)[0].0, "n2");
    assert!(begun.elapsed() <= Duration::from_millis(102));
    let nodes = failed(cluster.group(0).remove(vec![key("k")], None, at(1_500)).await);
    assert!(nodes[0].1.contains("beyond the deadline: allow more time"), "{nodes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_cut_off_node_goes_on_serving_until_its_grants_run_out_and_then_passes_through() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[2]);
    cluster.get(2, &key).await.unwrap();
    cluster.network.isolate("n2");
    tokio::time::sleep(DEFAULT_BOUND / 2).await;
    assert_eq!(cluster.get(2, &key).await.unwrap().source, Source::Main);
    tokio::time::sleep(DEFAULT_BOUND / 2 + Duration::from_millis(1)).await;
    let passed = cluster.get(2, &key).await.unwrap();
    assert_eq!((passed.source, passed.keep), (Source::Loader, false));
    tokio::time::sleep(DEFAULT_BOUND).await;
    assert_eq!((cluster.group(2).stats().lapses, cluster.group(2).sizes().main_entries), (1, 0));
    assert!(cluster.nodes[0].grants().serves(Instant::now()), "the others go on");
}
