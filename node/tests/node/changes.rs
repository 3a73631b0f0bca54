//! Set, Remove and Flush through any node: what holds afterwards at every node, and who is named when it does not.

use std::time::Duration;

use groupcache_proto::cache::stream_request::Call;
use groupcache_proto::cache::{FlushRequest, RemoveManyRequest, RemoveRequest, SetRequest, StreamRequest};
use groupcache_ring::{Member, Version};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tonic::{Code, Request};

use crate::support::{
    Cluster, Source, apply, client, config, get, http, metric, named, put, remove, serves, set, snapshot,
    start, users, value,
};

fn flush() -> FlushRequest {
    FlushRequest { group: "users".into() }
}

#[tokio::test]
async fn what_is_set_through_any_node_is_read_at_every_node() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    for owner in 0..3 {
        for over_http in [false, true] {
            let key = cluster.key_of(owner, if over_http { "http" } else { "grpc" });
            let path = format!("/v1/groups/users/keys/{key}");
            for node in &cluster.nodes {
                assert_eq!(value(node, &key).await, key);
            }
            let loads = source.loads_of(&key);
            if over_http {
                let answer =
                    put(cluster.nodes[0].data, &path, "groupcache-source-version: 9\r\n", b"new").await;
                assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            } else {
                let versioned = SetRequest { source_version: Some(9), ..set(&key, "new") };
                client(&cluster.nodes[0]).await.set(versioned).await.unwrap();
            }
            for node in &cluster.nodes {
                assert_eq!(value(node, &key).await, "new");
            }
            assert_eq!(source.loads_of(&key), loads, "a Set needs no load");
            let found = client(&cluster.nodes[1]).await.get(get(key.clone())).await.unwrap().into_inner();
            assert_eq!((found.source_version, found.ttl_remaining_ms), (Some(9), None));

            // The source is still what it was, and a Remove says so.
            if over_http {
                let answer = http(cluster.nodes[1].data, "DELETE", &path, "").await;
                assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            } else {
                client(&cluster.nodes[1]).await.remove(remove(&key)).await.unwrap();
            }
            for node in &cluster.nodes {
                assert_eq!(value(node, &key).await, key);
            }
        }
    }
    assert_eq!(metric(&cluster.nodes[0], "groupcache_sets_total{group=\"users\",outcome=\"ok\"}").await, 6);
}

#[tokio::test]
async fn a_set_that_says_for_how_long_is_forgotten_by_then() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let node = &cluster.nodes[0];
    let mut client = client(node).await;
    client.set(SetRequest { ttl_ms: Some(60_000), ..set("k", "short") }).await.unwrap();
    let found = client.get(get("k")).await.unwrap().into_inner();
    assert!(found.ttl_remaining_ms.is_some_and(|ms| ms > 50_000 && ms <= 60_000), "{found:?}");
    let answer = put(node.data, "/v1/groups/users/keys/k", "groupcache-ttl-ms: 1\r\n", b"shorter").await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    while value(node, "k").await != "k" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_flush_and_a_remove_of_many_reach_every_node() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    let keys: Vec<String> = (0..3).map(|owner| cluster.key_of(owner, "key")).collect();
    for round in 0..3 {
        for key in &keys {
            source.put(key, &format!("value-{round}"));
        }
        let through = &cluster.nodes[round];
        match round {
            0 => drop(client(through).await.flush(flush()).await.unwrap()),
            1 => {
                let answer = http(through.data, "DELETE", "/v1/groups/users/keys", "").await;
                assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            }
            _ => {
                let keys = keys.iter().cloned().map(Into::into).collect();
                let many = RemoveManyRequest { group: "users".into(), keys };
                client(through).await.remove_many(many).await.unwrap();
            }
        }
        for node in &cluster.nodes {
            for key in &keys {
                assert_eq!(value(node, key).await, format!("value-{round}"));
            }
        }
    }
    for node in &cluster.nodes {
        assert_eq!(metric(node, "groupcache_flushes_total{group=\"users\"}").await, 2);
    }
}

#[tokio::test]
async fn a_set_over_the_limit_is_refused_and_changes_nothing() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let mut client = client(&cluster.nodes[0]).await;
    client.set(set("k", "old")).await.unwrap();
    for (bytes, limit) in [((1 << 20) + 1, "1048576 bytes"), (9 << 20, "8388608 bytes")] {
        let status = client.set(set("k", vec![b'x'; bytes])).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(limit), "{status:?}");
    }
    assert_eq!(value(&cluster.nodes[0], "k").await, "old");
}

#[tokio::test]
async fn without_enough_grantors_every_change_names_the_nodes_it_could_not_reach() {
    let source = Source::start().await;
    let mut cluster = Cluster::start(3, users(source.address)).await;
    cluster.nodes.remove(2).kill().await;
    cluster.nodes.remove(1).kill().await;
    let mut client = client(&cluster.nodes[0]).await;
    for status in [
        client.remove(remove("k")).await.unwrap_err(),
        client.set(set("k", "v")).await.unwrap_err(),
        client.flush(flush()).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(named(&status), ["b", "c"], "{status:?}");
    }
    let address = cluster.nodes[0].data;
    for answer in [
        http(address, "DELETE", "/v1/groups/users/keys/k", "").await,
        http(address, "DELETE", "/v1/groups/users/keys", "").await,
        put(address, "/v1/groups/users/keys/k", "", b"v").await,
    ] {
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("/partial"), "{answer}");
        assert!(answer.contains("b: ") && answer.contains("c: "), "{answer}");
    }
}

#[tokio::test]
async fn with_one_node_gone_a_change_holds_if_it_is_given_the_time() {
    let source = Source::start().await;
    let mut cluster = Cluster::start(3, users(source.address)).await;
    let key = cluster.key_of(0, "key");
    cluster.nodes.remove(1).kill().await;
    let address = cluster.nodes[0].data;
    let path = format!("/v1/groups/users/keys/{key}");
    // More than a round takes, and less than the grants that the node may still hold.
    let answer = http(address, "DELETE", &path, "groupcache-timeout-ms: 1500\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("/partial"), "{answer}");
    assert!(answer.contains("b: ") && !answer.contains("a: "), "{answer}");
    source.put(&key, "new");
    let mut client = client(&cluster.nodes[0]).await;
    client.remove(remove(&key)).await.unwrap();
    for node in &cluster.nodes {
        assert_eq!(value(node, &key).await, "new");
    }
    client.set(set(&key, "set")).await.unwrap();
    // It took longer than a window, so the value was not stored: whoever removed the key meanwhile must not find it again.
    for node in &cluster.nodes {
        assert_eq!(value(node, &key).await, "new");
    }
    let barred = metric(&cluster.nodes[0], "groupcache_removes_barred_total{group=\"users\"}").await;
    assert_eq!(barred, 2);
}

/// A member that takes every byte and says nothing; what was sent to it comes out of the channel.
async fn listening_peer() -> (String, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (said, heard) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let said = said.clone();
            tokio::spawn(async move {
                let mut all = Vec::new();
                while stream.read_buf(&mut all).await.is_ok_and(|read| read > 0) {
                    said.send(all.clone()).ok();
                }
            });
        }
    });
    (address, heard)
}

/// Turned red by: a door that takes the version of the source and tells nobody.
#[tokio::test]
async fn a_version_of_the_source_reaches_the_other_nodes_from_every_door() {
    let source = Source::start().await;
    let (address, mut heard) = listening_peer().await;
    let node = start(config("a")).await;
    let members = vec![Member::active("a", node.cluster.to_string()), Member::active("b", address)];
    apply(&node, snapshot(Version::new(1, 1), members, users(source.address))).await;
    serves(&node).await;
    // Large numbers, each of which is found among other bytes.
    let version = |door: u64| 0x00DE_ADBE_EFCA_FE00 + door;
    let said = |door: u64| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(version(door), &mut bytes);
        bytes
    };
    let mut client = client(&node).await;
    let hurry = Duration::from_millis(300);
    let asked = move |door: u64| RemoveRequest { source_version: Some(version(door)), ..remove("k") };
    let mut over_grpc = Request::new(asked(1));
    over_grpc.set_timeout(hurry);
    let mut set_over_grpc = Request::new(SetRequest { source_version: Some(version(2)), ..set("k", "v") });
    set_over_grpc.set_timeout(hurry);
    let header =
        |door: u64| format!("groupcache-source-version: {}\r\ngroupcache-timeout-ms: 300\r\n", version(door));
    let path = "/v1/groups/users/keys/k";
    let streamed = StreamRequest { id: 1, deadline_ms: 300, call: Some(Call::Remove(asked(5))) };
    client.remove(over_grpc).await.unwrap_err();
    client.set(set_over_grpc).await.unwrap_err();
    assert!(http(node.data, "DELETE", path, &header(3)).await.contains("/partial"));
    assert!(put(node.data, path, &header(4), b"v").await.contains("/partial"));
    let mut answers = client.stream(tokio_stream::once(streamed)).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap();
    let mut missing: Vec<u64> = (1..=5).collect();
    while !missing.is_empty() {
        let all = tokio::time::timeout(Duration::from_secs(10), heard.recv()).await;
        let all = all.unwrap_or_else(|_| panic!("never heard of {missing:?}")).unwrap();
        missing.retain(|door| !all.windows(8).any(|bytes| bytes == said(*door)));
    }
}
