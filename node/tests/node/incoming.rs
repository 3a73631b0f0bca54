//! Values on their way in: as large as a group allows, and never more of them than there is room for.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use groupcache_node::config::Config;
use groupcache_node::memory::Memory;
use groupcache_proto::cache::get_response::Outcome;
use groupcache_proto::cluster::Configuration;
use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{Cluster, Source, apply, client, config, get, metric, put, set, start, users, value};

/// The largest value that a group can allow.
const LARGEST: usize = 8 << 20;

fn large_values(source: &Source) -> Configuration {
    let mut configuration = users(source.address);
    configuration.groups[0].max_value_bytes = u32::try_from(LARGEST).unwrap();
    configuration.groups[0].max_bytes = 128 << 20;
    configuration
}

async fn nodes(count: usize, source: &Source, memory: u64) -> Cluster {
    let memory = Memory::detect(Some(memory), 75);
    let mut nodes = Vec::new();
    for name in ["a", "b"].iter().take(count) {
        nodes.push(start(Config { memory, ..config(name) }).await);
    }
    let cluster = Cluster { nodes, configuration: large_values(source) };
    for node in &cluster.nodes {
        let pushed = cluster.snapshot(groupcache_ring::Version::new(1, 1));
        assert_eq!(apply(node, pushed).await.faults, Vec::<String>::new());
    }
    cluster.serve().await;
    cluster
}

#[tokio::test]
async fn a_value_of_the_largest_size_is_set_and_read_at_every_node() {
    let source = Source::start().await;
    let cluster = nodes(2, &source, 1 << 30).await;
    for owner in 0..2 {
        for over_http in [false, true] {
            let key = cluster.key_of(owner, if over_http { "http" } else { "grpc" });
            let large = Bytes::from(vec![b'v'; LARGEST]);
            if over_http {
                let path = format!("/v1/groups/users/keys/{key}");
                let answer = put(cluster.nodes[0].data, &path, "", &large).await;
                assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
            } else {
                client(&cluster.nodes[0]).await.set(set(&key, large.clone())).await.unwrap();
            }
            for node in &cluster.nodes {
                let mut client = client(node).await.max_decoding_message_size(2 * LARGEST);
                let found = client.get(get(key.clone())).await.unwrap().into_inner();
                assert!(found.outcome == Some(Outcome::Value(large.clone())), "another value");
            }
            assert_eq!(source.loads_of(&key), 0);
        }
    }
}

/// A Set over gRPC of which half is sent and the rest never; resolves with the answer.
async fn half_over_grpc(address: std::net::SocketAddr) -> Option<String> {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let message = set("half", vec![b'x'; LARGEST]).encode_to_vec();
    let framed = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let (mut body, half) = tokio::io::duplex(64 << 10);
    let sent = tokio::spawn(async move {
        // Where it is refused, nobody reads to the half.
        body.write_all(&framed[..framed.len() / 2]).await.ok();
        std::future::pending::<()>().await;
        drop(body);
    });
    let request = Request::post("http://x/groupcache.v1.CacheService/Set")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::from_stream(tokio_util::io::ReaderStream::new(half)))
        .unwrap();
    let answer = sender.send_request(request).await;
    sent.abort();
    Some(answer.ok()?.headers().get("grpc-status")?.to_str().unwrap().to_owned())
}

/// The same over HTTP.
async fn half_over_http(address: std::net::SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head =
        format!("PUT /v1/groups/users/keys/half HTTP/1.1\r\nhost: x\r\ncontent-length: {LARGEST}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; LARGEST / 2]).await.ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

/// Turned red by: bodies outside any budget, or a place that is given back when the body is read and not when it is answered.
#[tokio::test]
async fn twenty_clients_that_send_slowly_hold_no_more_than_there_is_room_for() {
    let source = Source::start().await;
    // An eighth for what is in flight, a third of that for requests: two of these and a half.
    let cluster = nodes(1, &source, 480 << 20).await;
    let node = &cluster.nodes[0];
    let (grpc, http) =
        (|| tokio::spawn(half_over_grpc(node.data)), || tokio::spawn(half_over_http(node.data)));
    let first: Vec<_> = vec![grpc(), http()];
    let taken = async || metric(node, "groupcache_incoming_bytes{}").await;
    let both = async {
        while taken().await < 2 * LARGEST as u64 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), both).await.expect("what arrives is not counted");
    // Each of the others is told that there is no room, in its own words.
    let others: Vec<_> = (0..18).map(|n| if n % 2 == 0 { grpc() } else { http() }).collect();
    for (number, held) in others.into_iter().enumerate() {
        let answer = timeout(Duration::from_secs(20), held).await.expect("it was not refused").unwrap();
        let refused = if number % 2 == 0 {
            (Code::ResourceExhausted as i32).to_string()
        } else {
            "HTTP/1.1 503".to_owned()
        };
        assert_eq!(answer, Some(refused));
        assert!(taken().await <= 20 << 20, "{}", taken().await);
    }
    // Small requests need no room.
    assert_eq!(value(node, "k").await, "k");
    client(node).await.set(set("small", "v")).await.unwrap();
    for held in first {
        held.abort();
    }
    while taken().await > 0 {
        tokio::task::yield_now().await;
    }
    client(node).await.set(set("large", vec![b'v'; LARGEST])).await.unwrap();
    assert_eq!(taken().await, 0);
}
