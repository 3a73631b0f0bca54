//! A node that is added to others takes its share of their entries over, and peeks at what has not come yet.

use std::time::Duration;

use groupcache_node::node::Node;
use groupcache_proto::cluster::Configuration;
use groupcache_proto::convert;
use groupcache_ring::{Ring, Snapshot, State, Version};
use tokio::time::{sleep, timeout};

use crate::support::{Cluster, Source, apply, config, start, users, value};

/// Pushes a membership of these nodes, of which the first one grants and the last one is in that state; waits until they may serve copies.
async fn push(cluster: &Cluster, sequence: u64, last: State) {
    let version = Version::new(1, sequence);
    let mut members = cluster.members();
    members.last_mut().unwrap().state = last;
    let snapshot = Snapshot::new("uid", version, version, vec!["a".into()], members).unwrap();
    let snapshot = convert::snapshot_to_wire(&snapshot, cluster.configuration.clone());
    for node in &cluster.nodes {
        assert_eq!(apply(node, snapshot.clone()).await.faults, Vec::<String>::new());
    }
    let keeping = |node: &&Node| node.groups().view().unwrap().may_keep();
    for node in cluster.nodes.iter().filter(keeping) {
        let grants = node.groups().grants().clone();
        let serves = async {
            while !grants.serves(grants.clock().now()) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(30), serves).await.expect("it gets no grant");
    }
}

fn stats(node: &Node) -> groupcache_group::stats::Stats {
    node.groups().get("users").unwrap().stats()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_added_takes_its_share_over_and_nothing_is_loaded_again() {
    let source = Source::start().await;
    let configuration =
        Configuration { staleness_bound_ms: 1_000, purge_timeout_ms: 500, ..users(source.address) };
    let nodes = vec![start(config("a")).await, start(config("b")).await];
    let mut cluster = Cluster { nodes, configuration };
    push(&cluster, 1, State::Active).await;
    let keys: Vec<String> = (0..150).map(|n| format!("key-{n}")).collect();
    for key in &keys {
        assert_eq!(value(&cluster.nodes[0], key).await, *key);
    }
    cluster.nodes.push(start(config("c")).await);
    push(&cluster, 2, State::Joining).await;
    push(&cluster, 3, State::Active).await;
    let ring = Ring::new(&cluster.members());
    let moved = keys.iter().filter(|key| ring.owner(key.as_bytes()) == Some(2)).count() as u64;
    let new = &cluster.nodes[2];
    let arrived = async {
        while stats(new).taken_over < moved {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let arrived = timeout(Duration::from_secs(30), arrived).await;
    assert!(arrived.is_ok(), "{:?} of {moved}", stats(new));
    assert_eq!((stats(new).offered, stats(new).taken_over), (moved, moved));
    for key in &keys {
        assert_eq!(value(new, key).await, *key);
        assert_eq!(source.loads_of(key), 1, "{key}");
    }
}
