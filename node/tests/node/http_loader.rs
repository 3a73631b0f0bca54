//! The HTTP loader against a server that sees the raw request, and keys of arbitrary bytes all the way through.

use std::collections::HashMap;
use std::sync::Arc;

use groupcache_node::config::Config;
use groupcache_node::memory::Memory;
use groupcache_proto::cache::{GetRequest, get_response};
use groupcache_proto::cluster::{HttpLoader, loader::Kind};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::Code;

use crate::support::{Cluster, client, config, configuration, get, start};

/// A server that answers the decoded last segment, or what a special key asks for, and notes each request's head.
struct Web {
    url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

async fn web() -> Web {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                seen.lock().push(head);
                // Said on every answer, because the connection ends with it.
                let answer = answer(&target);
                let at = answer.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                let said = [&answer[..at], b"connection: close\r\n", &answer[at..]].concat();
                let _ = stream.write_all(&said).await;
            });
        }
    });
    Web { url: format!("http://{address}/v/{{key}}/end"), heads }
}

fn answer(target: &str) -> Vec<u8> {
    let segments: Vec<_> = target.split('/').collect();
    assert_eq!((segments.len(), segments[1], segments[3]), (4, "v", "end"), "{target}");
    let key: Vec<u8> = percent_encoding::percent_decode_str(segments[2]).collect();
    let special: HashMap<&[u8], &str> = HashMap::from([
        (&b"!absent"[..], "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        (b"!moved", "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"),
        (b"!broken", "HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nno\ncoffee"),
        (b"!once", "HTTP/1.1 200 OK\r\ncache-control: no-store\r\ncontent-length: 4\r\n\r\nonce"),
        (b"!huge", "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n"),
        (b"!cut", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        (b"!zipped", "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx"),
    ]);
    if key == b"!endless" {
        let mut body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..10 {
            body.extend_from_slice(b"100000\r\n");
            body.extend_from_slice(&vec![b'x'; 1 << 20]);
            body.extend_from_slice(b"\r\n");
        }
        return body;
    }
    if key == b"!grows" {
        let part = [&b"C0000\r\n"[..], &vec![b'x'; 768 << 10], b"\r\n"].concat();
        return [&b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"[..], &part, &part, b"0\r\n\r\n"]
            .concat();
    }
    match special.get(&key[..]) {
        Some(said) => said.as_bytes().to_vec(),
        None => {
            [format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", key.len()).as_bytes(), &key].concat()
        }
    }
}

fn group(url: &str) -> groupcache_proto::cluster::Configuration {
    configuration(Kind::Http(HttpLoader { url: url.to_owned() }))
}

#[tokio::test]
async fn each_answer_means_what_it_says() {
    let web = web().await;
    let cluster = Cluster::start(1, group(&web.url)).await;
    let mut client = client(&cluster.nodes[0]).await;
    let absent = client.get(get("!absent")).await.unwrap().into_inner();
    assert!(matches!(absent.outcome, Some(get_response::Outcome::NotFound(_))), "{absent:?}");
    for (key, said) in [
        ("!moved", "loader source: it answered 302 Found"),
        ("!broken", "no coffee"),
        ("!huge", "larger than 8388608 bytes"),
        ("!endless", "larger than 8388608 bytes"),
        ("!cut", "the value broke off"),
        ("!zipped", "compressed"),
    ] {
        let status = client.get(get(key)).await.unwrap_err();
        assert!(matches!(status.code(), Code::Unknown | Code::Unavailable), "{key}: {status:?}");
        assert!(status.message().contains(said), "{key}: {status:?}");
    }
    let before = web.heads.lock().len();
    for _ in 0..2 {
        client.get(get("!once")).await.unwrap();
        client.get(get("often")).await.unwrap();
    }
    // no-store is answered and not kept; the other is kept.
    assert_eq!(web.heads.lock().len() - before, 3);
    for head in web.heads.lock().iter().map(|head| head.to_lowercase()) {
        assert!(head.contains("cache-control: no-cache"), "{head}");
        // What is left of ten seconds, less a margin.
        let told = head.split("groupcache-timeout-ms: ").nth(1).and_then(|rest| rest.lines().next());
        let told: u64 = told.and_then(|millis| millis.parse().ok()).expect("the time that is left");
        assert!(told > 5_000 && told < 10_000, "{told}");
    }
}

/// Turned red by: asking for more room while holding some. It waits for itself then, and every other load waits behind it.
#[tokio::test]
async fn a_value_that_grows_past_what_was_set_aside_for_it_is_answered() {
    let web = web().await;
    // Six megabytes for loads: less than the first reservation and the rest of the largest value together.
    let node = start(Config { memory: Memory::detect(Some(96 << 20), 75), ..config("a") }).await;
    let cluster = Cluster { nodes: vec![node], configuration: group(&web.url) };
    let pushed = cluster.snapshot(groupcache_ring::Version::new(1, 1));
    assert_eq!(crate::support::apply(&cluster.nodes[0], pushed).await.faults, Vec::<String>::new());
    let mut client = client(&cluster.nodes[0]).await;
    let answer = client.get(get("!grows")).await.unwrap().into_inner();
    assert_eq!(crate::support::text(&answer).len(), 1536 << 10);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_no_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{{key}}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.unwrap();
        for answers in [true, false] {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(first.read_u8().await.unwrap());
            }
            if answers {
                first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            }
        }
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        second.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nagain").await.unwrap();
        second
    });
    let cluster = Cluster::start(1, group(&url)).await;
    let mut client = client(&cluster.nodes[0]).await;
    client.get(get("one")).await.unwrap();
    let answer = client.get(get("two")).await.unwrap().into_inner();
    assert_eq!(crate::support::text(&answer), "again");
    server.await.unwrap();
}

#[test]
fn keys_of_any_bytes_arrive_as_they_were() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_cluster, client, door) = runtime.block_on(async {
        let cluster = Cluster::start(2, group(&web().await.url)).await;
        let (client, door) = (client(&cluster.nodes[0]).await, cluster.nodes[1].data);
        (cluster, client, door)
    });
    let mut runner = TestRunner::new(Cases { failure_persistence: None, ..Cases::with_cases(64) });
    let keys = proptest::collection::vec(any::<u8>(), 1..100).prop_filter("special", |key| key[0] != b'!');
    runner
        .run(&keys, |key| {
            let mut client = client.clone();
            let request =
                GetRequest { group: "users".into(), key: key.clone().into(), fill_token_wanted: false };
            let answer = runtime.block_on(client.get(request)).unwrap().into_inner();
            prop_assert_eq!(answer.outcome, Some(get_response::Outcome::Value(key.clone().into())));

            let path = percent_encoding::percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
            let request =
                format!("GET /v1/groups/users/keys/{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            let answer = runtime.block_on(crate::support::raw(door, request.as_bytes()));
            prop_assert!(answer.ends_with(&[b"\r\n\r\n", &key[..]].concat()));
            Ok(())
        })
        .unwrap();
}
