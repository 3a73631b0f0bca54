//! Hostile connections: garbage, silence and numbers cost the one who brings them.

use std::time::Duration;

use groupcache_node::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Cluster, Source, config, http, raw, start, users, value};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn garbage_on_any_port_closes_that_connection_only() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let node = &cluster.nodes[0];
    let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let after_preface = [PREFACE, &noise[..]].concat();
    let long_line = [b"GET /".as_slice(), &[b'x'; 64 << 10], b" HTTP/1.1\r\n\r\n"].concat();
    let tls: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 hello \r\n\r\n";
    for address in [node.data, node.cluster, node.admin] {
        for bytes in [&noise[..], &after_preface, &long_line, tls, b"\r\n\r\n\0\0\r\n\r\n"] {
            let ended = tokio::time::timeout(Duration::from_secs(20), raw(address, bytes)).await;
            assert!(ended.is_ok(), "the connection to {address} was not closed");
        }
    }
    assert_eq!(value(node, "k").await, "k");
    assert!(http(node.admin, "GET", "/healthz", "").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed() {
    let node = start(Config { data_address: ([127, 0, 0, 1], 0).into(), ..config("a") }).await;
    for address in [node.data, node.cluster] {
        for beginning in [&b""[..], &PREFACE[..10]] {
            let started = tokio::time::Instant::now();
            assert_eq!(raw(address, beginning).await, b"");
            let took = started.elapsed();
            assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(6), "{took:?}");
        }
    }
}

#[tokio::test]
async fn connections_over_the_cap_are_closed_and_room_is_given_back() {
    let node = start(Config { max_connections: 2, ..config("a") }).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(node.data).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 404");
        held.push(stream);
    }
    assert_eq!(http(node.data, "GET", "/", "").await, "");
    held.clear();
    while http(node.data, "GET", "/", "").await.is_empty() {
        tokio::task::yield_now().await;
    }
}
