//! Clients that do not read what they asked for, or do not send what they began, hold nothing for long.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt, stream};
use groupcache_node::config::Config;
use groupcache_node::memory::Memory;
use groupcache_node::node::Node;
use groupcache_proto::{cache, cluster};
use http::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::support::{Cluster, Source, client, config, get, metric, start, users, value};

/// Asks for a key.
type Ask = fn(&str) -> Request<Body>;

/// Larger than any window that a client opens unasked.
const LARGE: usize = 1 << 20;

/// A connection whose windows open only as its answers are read, and the task that ends with it.
async fn connect(address: std::net::SocketAddr) -> (SendRequest<Body>, tokio::task::JoinHandle<()>) {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(65_535).initial_connection_window_size(1 << 30);
    let (sender, connection) = builder.handshake(io).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

fn over_http(key: &str) -> Request<Body> {
    Request::get(format!("http://x/v1/groups/users/keys/{key}")).body(Body::empty()).unwrap()
}

fn over_grpc(key: &str) -> Request<Body> {
    let message = get(key.to_owned()).encode_to_vec();
    let framed = [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], &message].concat();
    let request = Request::post("http://x/groupcache.v1.CacheService/Get");
    request.header("content-type", "application/grpc").header("te", "trailers").body(framed.into()).unwrap()
}

/// A call with these messages, and more to come if it is a stream of calls.
fn messages(path: &str, messages: &[Vec<u8>], more: bool) -> Request<Body> {
    let framed = messages.iter().map(|message| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], message].concat()
    });
    let framed = Bytes::from(framed.collect::<Vec<_>>().concat());
    let rest = if more { stream::pending().boxed() } else { stream::empty().boxed() };
    let body = stream::iter([Ok::<_, std::convert::Infallible>(framed)]).chain(rest);
    let request = Request::post(format!("http://x/{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(Body::from_stream(body)).unwrap()
}

/// Eight Gets of a key over one stream.
fn over_stream(key: &str) -> Request<Body> {
    let call = |id| {
        let call = Some(cache::stream_request::Call::Get(get(key.to_owned())));
        cache::StreamRequest { id, deadline_ms: 30_000, call }.encode_to_vec()
    };
    messages("groupcache.v1.CacheService/Stream", &(0..8).map(call).collect::<Vec<_>>(), true)
}

fn fetch(key: &str) -> cluster::FetchRequest {
    let (group, key) = ("users".into(), Bytes::from(key.to_owned()));
    cluster::FetchRequest { group, key, deadline_ms: 30_000, ..Default::default() }
}

fn over_fetch(key: &str) -> Request<Body> {
    messages("groupcache.cluster.v1.ClusterService/Fetch", &[fetch(key).encode_to_vec()], false)
}

/// Thirty-two fetches of a key over one stream.
fn over_exchange(key: &str) -> Request<Body> {
    let call = |id| {
        let call = Some(cluster::exchange_request::Call::Fetch(fetch(key)));
        cluster::ExchangeRequest { id, call }.encode_to_vec()
    };
    messages("groupcache.cluster.v1.ClusterService/Exchange", &(0..32).map(call).collect::<Vec<_>>(), true)
}

/// Bytes of answers that are not sent yet.
async fn taken(node: &Node) -> u64 {
    metric(node, "groupcache_outgoing_bytes{}").await
}

async fn one_node(source: &Source, memory: u64) -> Cluster {
    let node = start(Config { memory: Memory::detect(Some(memory), 75), ..config("a") }).await;
    let cluster = Cluster { nodes: vec![node], configuration: users(source.address) };
    let pushed = cluster.snapshot(groupcache_ring::Version::new(1, 1));
    assert_eq!(crate::support::apply(&cluster.nodes[0], pushed).await.faults, Vec::<String>::new());
    cluster.serve().await;
    cluster
}

/// Turned red by: answers that are not watched. The connection would live to its age of ten minutes.
#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    let cluster = one_node(&source, 1 << 30).await;
    for request in [over_http("large"), over_grpc("large")] {
        let (mut sender, ended) = connect(cluster.nodes[0].data).await;
        let unread = sender.send_request(request).await.unwrap();
        tokio::time::pause();
        let asked = Instant::now();
        timeout(Duration::from_secs(60), ended).await.expect("the connection goes on").unwrap();
        assert!(asked.elapsed() >= Duration::from_secs(19), "{:?}", asked.elapsed());
        tokio::time::resume();
        drop(unread);
    }
    assert_eq!(value(&cluster.nodes[0], "k").await, "k");
}

/// Turned red by: answers outside any budget, or readers that are patient with everybody while others wait.
#[tokio::test]
async fn unread_answers_stay_inside_their_budget_and_make_room_for_others() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    // An eighth for what is in flight, a third of that for answers: four of these.
    let cluster = one_node(&source, 96 << 20).await;
    let node = &cluster.nodes[0];
    let mut unread = Vec::new();
    for ask in [over_http, over_grpc].iter().cycle().take(6) {
        let (sender, _) = connect(node.data).await;
        for _ in 0..3 {
            let (mut sender, request) = (sender.clone(), ask("large"));
            unread.push(tokio::spawn(async move { sender.send_request(request).await }));
        }
    }
    while taken(node).await < 4 << 20 {
        tokio::task::yield_now().await;
    }
    assert_eq!(taken(node).await, 4 << 20);
    // A small answer needs no room. A large one is served once connections that do not read are gone.
    assert_eq!(value(node, "k").await, "k");
    let answer = timeout(Duration::from_secs(15), client(node).await.get(get("large"))).await;
    assert!(answer.expect("nobody made room").is_ok());
    drop(unread);
    while taken(node).await > 0 {
        tokio::task::yield_now().await;
    }
}

/// Turned red by: answers on streams, or of fetches, that are in no budget. Three connections asked for 360 MiB in all.
#[tokio::test]
async fn unread_streams_stay_inside_the_budget_and_are_cut() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    source.put("middling", &"v".repeat(60 << 10));
    let cluster = one_node(&source, 384 << 20).await;
    let node = &cluster.nodes[0];
    assert_eq!(value(node, "large").await.len(), LARGE);
    assert_eq!(value(node, "middling").await.len(), 60 << 10);
    let asks: [(_, Ask, _, _, _); 3] = [
        (node.data, over_stream, "large", 15, 2 << 20),
        (node.cluster, over_fetch, "large", 120, 2 << 20),
        (node.cluster, over_exchange, "middling", 64, 1 << 20),
    ];
    // A third of an eighth of the memory for answers, an eighth of that for one connection.
    let share = 2 << 20;
    for (address, ask, key, streams, least) in asks {
        let (sender, ended) = connect(address).await;
        let mut unread = Vec::new();
        for _ in 0..streams {
            let (mut sender, request) = (sender.clone(), ask(key));
            unread.push(tokio::spawn(async move { sender.send_request(request).await }));
        }
        // Large ones fill the share; of smaller ones some have a part of it that are not written yet.
        while taken(node).await < least {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            assert!(taken(node).await <= share, "{}", taken(node).await);
        }
        // It reads nothing for long enough, and is cut.
        tokio::time::pause();
        timeout(Duration::from_secs(60), ended).await.expect("the connection goes on").unwrap();
        tokio::time::resume();
        drop(unread);
        while taken(node).await > 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(value(node, "k").await, "k");
}

/// Turned red by: places of a stream's answers that are not given back when these are sent.
#[tokio::test]
async fn a_stream_that_is_read_gets_more_than_fits_at_once() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    let cluster = one_node(&source, 64 << 20).await;
    let mut client = client(&cluster.nodes[0]).await;
    let call = |id| cache::StreamRequest {
        id,
        deadline_ms: 30_000,
        call: Some(cache::stream_request::Call::Get(get("large"))),
    };
    let calls = stream::iter((0..40).map(call).collect::<Vec<_>>()).chain(stream::pending());
    let mut answers = client.stream(calls).await.unwrap().into_inner();
    for _ in 0..40 {
        let answer = timeout(Duration::from_secs(20), answers.message()).await.expect("no room any more");
        let answer = answer.unwrap().unwrap().answer;
        assert!(matches!(answer, Some(cache::stream_response::Answer::Get(_))), "{answer:?}");
    }
    while taken(&cluster.nodes[0]).await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_slow_reader_that_reads_keeps_its_connection() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    let cluster = one_node(&source, 1 << 30).await;
    let mut stream = TcpStream::connect(cluster.nodes[0].data).await.unwrap();
    let request = b"GET /v1/groups/users/keys/large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let (mut read, mut piece) = (0, vec![0; 64 << 10]);
    loop {
        tokio::time::pause();
        tokio::time::sleep(Duration::from_secs(5)).await;
        tokio::time::resume();
        match stream.read(&mut piece).await.unwrap() {
            0 => break,
            some => read += some,
        }
    }
    assert!(read > LARGE, "{read}");
}

/// Turned red by: a call whose deadline counts from when all of it has come.
#[tokio::test]
async fn a_call_that_is_never_sent_whole_ends_at_its_deadline() {
    let source = Source::start().await;
    let cluster = one_node(&source, 1 << 30).await;
    let (mut sender, _connection) = connect(cluster.nodes[0].data).await;
    let (mut body, half) = tokio::io::duplex(64);
    body.write_all(&[0, 0, 0, 1, 0, b'x']).await.unwrap();
    let half = Body::from_stream(tokio_util::io::ReaderStream::new(half));
    let request = Request::post("http://x/groupcache.v1.CacheService/Get")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "100m")
        .body(half)
        .unwrap();
    let answer = timeout(Duration::from_secs(10), sender.send_request(request)).await;
    let answer = answer.expect("it did not end").unwrap();
    assert_eq!(answer.headers()["grpc-status"], (Code::DeadlineExceeded as i32).to_string());
}

/// Turned red by: a limit on messages that is the same for applications as for peers.
#[tokio::test]
async fn a_request_larger_than_any_that_makes_sense_is_refused_unread() {
    let source = Source::start().await;
    let cluster = one_node(&source, 1 << 30).await;
    let mut client = client(&cluster.nodes[0]).await;
    let status = client.get(get(Bytes::from(vec![b'k'; 10 << 20]))).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    assert_eq!(value(&cluster.nodes[0], "k").await, "k");
}
