//! Stale answers on the wire: to applications in both doors' words, and from node to node.

use groupcache_proto::cache::Source as Found;

use crate::support::{Cluster, Source, client, get, http, text, users};

/// A group whose values are stale a moment after they were loaded, and of use for a minute.
async fn cluster_of(nodes: usize, source: &Source) -> Cluster {
    let mut configuration = users(source.address);
    let group = &mut configuration.groups[0];
    (group.ttl_ms, group.stale_while_revalidate_ms) = (1, 60_000);
    Cluster::start(nodes, configuration).await
}

/// The refresh that the first stale answer starts is held at the source, so that the value stays stale.
#[tokio::test]
async fn a_stale_answer_says_so_in_both_doors_and_between_nodes() {
    let source = Source::start().await;
    let cluster = cluster_of(2, &source).await;
    source.go.add_permits(1);
    for node in &cluster.nodes {
        let mut client = client(node).await;
        let mut answer = client.get(get("slow")).await.unwrap().into_inner();
        while answer.source() != Found::Stale {
            assert_eq!(source.loads_of("slow"), 1);
            answer = client.get(get("slow")).await.unwrap().into_inner();
        }
        assert_eq!((text(&answer).as_str(), answer.ttl_remaining_ms), ("slow", Some(0)));
        let said = http(node.data, "GET", "/v1/groups/users/keys/slow", "").await.to_lowercase();
        assert!(said.starts_with("http/1.1 200 "), "{said}");
        assert!(said.contains("cache-status: groupcache; hit; ttl=-1\r\n"), "{said}");
    }
    source.begun.acquire_many(2).await.unwrap().forget();
    assert_eq!(source.loads_of("slow"), 2, "the owner alone refreshes, once");
}
