//! What the caches are worth across changes of the ring: they add next to nothing to the loader's calls.

use groupcache_group::value::Key;
use groupcache_ring::{Member, State};
use std::time::Duration;

use crate::network::{Cluster, key, member, settings};
use crate::peeks::{four, three_of_four};

const KEYS: usize = 2_000;

/// The loads that a change may add: one key in twenty.
const FEW: usize = KEYS / 20;

/// How long a pod that leaves goes on answering.
const DRAIN: Duration = Duration::from_secs(35);

fn keys(prefix: &str, count: usize) -> Vec<Key> {
    (0..count).map(|n| key(&format!("{prefix}-{n}"))).collect()
}

/// Gets every key, at one of these nodes each; answers how many loads that took.
async fn ask(cluster: &Cluster, keys: &[Key], nodes: &[usize]) -> usize {
    let before = cluster.source.loads();
    for (nth, key) in keys.iter().enumerate() {
        cluster.get(nodes[nth % nodes.len()], key).await.unwrap();
    }
    cluster.source.loads() - before
}

#[tokio::test(start_paused = true)]
async fn scaling_up_and_down_adds_at_most_a_few_percent_to_the_loads() {
    let mut cluster = three_of_four(settings()).await;
    let (early, late) = (keys("early", KEYS), keys("late", KEYS));
    assert_eq!(ask(&cluster, &early, &[0, 1, 2]).await, KEYS);
    cluster.adopt(4, four());
    cluster.serving().await;
    let added = ask(&cluster, &early, &[3, 2, 1, 0]).await;
    println!("three to four nodes: {added} loads added");
    assert!(added <= FEW);

    assert_eq!(ask(&cluster, &late, &[0, 1, 2, 3]).await, KEYS);
    let leaves = |at| member(at, if at == 3 { State::Draining } else { State::Active });
    cluster.adopt(5, (0..4).map(leaves).collect());
    cluster.serving().await;
    tokio::time::sleep(DRAIN).await;
    cluster.adopt(6, four()[..3].to_vec());
    cluster.serving().await;
    let added = ask(&cluster, &late, &[1, 2, 0]).await + ask(&cluster, &early, &[1, 2, 0]).await;
    println!("four to three nodes: {added} loads added");
    assert!(added <= FEW);
}

#[tokio::test(start_paused = true)]
async fn while_a_node_leaves_its_keys_are_not_loaded_again_either() {
    let mut cluster = Cluster::of(4).await;
    let keys = keys("key", KEYS);
    assert_eq!(ask(&cluster, &keys, &[0, 1, 2, 3]).await, KEYS);
    let leaves = |at| member(at, if at == 3 { State::Draining } else { State::Active });
    cluster.adopt(2, (0..4).map(leaves).collect());
    cluster.serving().await;
    let added = ask(&cluster, &keys, &[2, 0, 1]).await;
    println!("one of four drains: {added} loads added");
    assert!(added <= FEW);
}

/// Every process of three is replaced by one that knows nothing, one after the other.
#[tokio::test(start_paused = true)]
async fn a_rolling_replacement_adds_at_most_a_few_percent_to_the_loads() {
    let mut cluster = Cluster::of(3).await;
    let keys = keys("key", KEYS);
    assert_eq!(ask(&cluster, &keys, &[0, 1, 2]).await, KEYS);
    let before = cluster.source.loads();
    let mut sequence = 1;
    for leaving in 0..3 {
        let with = |state: Option<State>| -> Vec<Member> {
            let of = |at| if at == leaving { state } else { Some(State::Active) };
            (0..3).filter_map(|at| of(at).map(|state| member(at, state))).collect()
        };
        sequence += 4;
        cluster.adopt(sequence, with(Some(State::Draining)));
        cluster.serving().await;
        tokio::time::sleep(DRAIN).await;
        cluster.adopt(sequence + 1, with(None));
        cluster.replace(leaving, sequence + 1, &settings());
        cluster.adopt(sequence + 2, with(Some(State::Joining)));
        // Longer than a staleness bound: what joins is Active only once everyone knows that it joins.
        tokio::time::sleep(Duration::from_secs(6)).await;
        cluster.serving().await;
        cluster.adopt(sequence + 3, with(Some(State::Active)));
        cluster.serving().await;
        ask(&cluster, &keys, &[leaving, (leaving + 1) % 3]).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    let added = cluster.source.loads() - before;
    println!("three processes replaced: {added} loads added");
    assert!(added <= FEW, "{added} loads added");
}
