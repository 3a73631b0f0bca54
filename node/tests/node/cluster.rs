//! Several nodes: one load per key, Removes that hold, and nodes that go away.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use groupcache_node::config::Config;
use groupcache_node::transport::peers::Patience;
use groupcache_ring::{Member, State, Version};

use crate::support::{
    Cluster, Source, apply, client, cluster_client, config, get, remove, snapshot, start, text, users, value,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_gets_of_a_cold_key_are_one_load() {
    let source = Source::start().await;
    let mut configuration = users(source.address);
    // A thousand callers on a busy machine hold up beats as well, and who lapses may load once more.
    configuration.staleness_bound_ms = 5_000;
    let cluster = Cluster::start(3, configuration).await;
    let clients = join_all(cluster.nodes.iter().map(client)).await;
    let gets = (0..1000).map(|n| {
        let mut client = clients[n % 3].clone();
        tokio::spawn(async move { client.get(get("slow-cold")).await })
    });
    let gets: Vec<_> = gets.collect();
    // One load may go on; a second one would wait for ever and fail the test.
    source.go.add_permits(1);
    for get in join_all(gets).await {
        let stats: Vec<_> = cluster.nodes.iter().map(|n| n.groups().get("users").unwrap().stats()).collect();
        let answer = get.unwrap().unwrap_or_else(|status| panic!("{status:?}: {stats:#?}"));
        assert_eq!(text(&answer.into_inner()), "slow-cold");
    }
    assert_eq!(source.loads_of("slow-cold"), 1);
}

#[tokio::test]
async fn after_a_remove_every_node_answers_the_new_value() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    for round in 0..20 {
        let key = format!("key-{}", round % 4);
        source.put(&key, &format!("value-{round}"));
        let through = &cluster.nodes[round % 3];
        client(through).await.remove(remove(&key)).await.unwrap();
        for node in &cluster.nodes {
            assert_eq!(value(node, &key).await, format!("value-{round}"));
        }
    }
}

/// Turned red by: a fetch that is forwarded, or that waits for this node's own fetch of the same key. Either would go round for ever.
#[tokio::test]
async fn two_nodes_that_take_each_other_for_the_owner_answer_all_the_same() {
    let source = Source::start().await;
    let nodes = vec![start(config("a")).await, start(config("b")).await];
    let cluster = Cluster { nodes, configuration: users(source.address) };
    for (me, node) in cluster.nodes.iter().enumerate() {
        let mut members = cluster.members();
        members[me].state = State::Joining;
        let pushed = snapshot(Version::new(1, 1), members, cluster.configuration.clone());
        assert_eq!(apply(node, pushed).await.faults, Vec::<String>::new());
    }
    let gets = (0..20).map(|n| {
        let (node, key) = (&cluster.nodes[n % 2], format!("slow-{}", n / 2));
        async move { (value(node, &key).await, key) }
    });
    // Each of ten keys is asked at both nodes, and loaded once by each of its two owners.
    source.go.add_permits(20);
    for (answer, key) in join_all(gets).await {
        assert_eq!(answer, key);
        assert_eq!(source.loads_of(&key), 2);
    }
}

#[tokio::test]
async fn gets_of_a_dead_nodes_keys_go_to_the_second_owner() {
    let source = Source::start().await;
    let mut cluster = Cluster::start(3, users(source.address)).await;
    let ring = groupcache_ring::Ring::new(&cluster.members());
    // Owned by c, with b as the second owner, so that a has to ask both.
    let keys: Vec<String> = (0..)
        .map(|n| format!("key-{n}"))
        .filter(|key| ring.ranked(key.as_bytes(), 2) == [2, 1])
        .take(10)
        .collect();
    cluster.nodes.remove(2).kill().await;
    for key in &keys {
        assert_eq!(value(&cluster.nodes[0], key).await, *key);
        assert_eq!(source.loads_of(key), 1);
    }
    let stats = cluster.nodes[0].groups().get("users").unwrap().stats();
    assert_eq!(stats.second_owner_fetches, 10, "{stats:?}");
    assert_eq!(cluster.nodes[1].groups().get("users").unwrap().stats().loads, 10);
}

#[tokio::test]
async fn a_frozen_owner_costs_milliseconds_not_deadlines() {
    let source = Source::start().await;
    // It takes connections and never says a word.
    let frozen = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = start(Config { patience: Patience::default(), ..config("a") }).await;
    let members = vec![
        Member::active("a", node.cluster.to_string()),
        Member::active("frozen", frozen.local_addr().unwrap().to_string()),
    ];
    let ring = groupcache_ring::Ring::new(&members);
    let key = (0..).map(|n| format!("key-{n}")).find(|key| ring.owner(key.as_bytes()) == Some(1)).unwrap();
    apply(&node, snapshot(Version::new(1, 1), members, users(source.address))).await;
    let started = std::time::Instant::now();
    assert_eq!(value(&node, &key).await, key);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(140) && took < Duration::from_millis(1500), "{took:?}");
}

#[tokio::test]
async fn a_process_that_replaces_another_makes_itself_known() {
    let source = Source::start().await;
    let mut cluster = Cluster::start(2, users(source.address)).await;
    let snapshot = cluster.snapshot(Version::new(1, 1));
    let key = cluster.key_of(1, "key");
    cluster.nodes.remove(1).kill().await;
    // Another process of the same name, at another address, told the same old snapshot.
    let again = start(config("b")).await;
    apply(&again, snapshot).await;
    let boots: HashSet<u64> = [again.membership().me().boot, cluster.nodes[0].membership().me().boot].into();
    assert_eq!(boots.len(), 2);
    // It announces itself behind the push: until that has arrived, Gets go round it.
    let peer_gets = || again.groups().get("users").unwrap().stats().peer_gets;
    let mut round = 0;
    while peer_gets() == 0 {
        round += 1;
        client(&cluster.nodes[0]).await.remove(remove(&key)).await.ok();
        assert_eq!(value(&cluster.nodes[0], &key).await, key);
        assert!(round < 10_000, "the node that came back is never asked");
    }
}

#[tokio::test]
async fn an_owner_that_loads_gives_signs_of_life() {
    use groupcache_proto::cluster::{FetchRequest, fetch_response::Outcome};
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let request =
        FetchRequest { group: "users".into(), key: "slow".into(), deadline_ms: 10_000, ..Default::default() };
    let mut answers = cluster_client(&cluster.nodes[0]).fetch(request).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert!(matches!(first.outcome, Some(Outcome::Pending(_))), "{first:?}");
    source.go.add_permits(1);
    let last = loop {
        let answer = answers.message().await.unwrap().unwrap();
        if !matches!(answer.outcome, Some(Outcome::Pending(_))) {
            break answer;
        }
    };
    assert!(matches!(last.outcome, Some(Outcome::Value(_))), "{last:?}");
    assert!(answers.message().await.unwrap().is_none());
}
