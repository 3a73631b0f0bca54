//! The Unicode loader as its users meet it: gRPC and HTTP over loopback.
#![expect(clippy::unwrap_used, reason = "in a helper of a test too it fails the test")]

use std::net::SocketAddr;
use std::sync::Arc;

use groupcache_examples::unicode::counts::Counts;
use groupcache_examples::unicode::faults::FaultSwitch;
use groupcache_examples::unicode::server::serve;
use groupcache_examples::unicode::service::UnicodeLoader;
use groupcache_examples::unicode::table::Table;
use groupcache_proto::loader::loader_service_client::LoaderServiceClient;
use groupcache_proto::loader::{LoadManyRequest, LoadRequest, LoadResponse, load_response, load_result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Channel;

struct Running {
    client: LoaderServiceClient<Channel>,
    admin: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

async fn start() -> Running {
    let loader = UnicodeLoader {
        table: Table::open(":memory:").await.unwrap(),
        counts: Arc::new(Counts::default()),
        faults: Arc::new(FaultSwitch::default()),
    };
    let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (url, admin) = (format!("http://{}", grpc.local_addr().unwrap()), http.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(loader, grpc, Some(http), async {
        let _ = stopped.await;
    }));
    Running { client: LoaderServiceClient::connect(url).await.unwrap(), admin, stop, serving }
}

impl Running {
    async fn load(&mut self, key: &[u8]) -> Result<LoadResponse, tonic::Status> {
        let request = LoadRequest { group: "unicode".into(), key: key.to_vec().into() };
        self.client.load(request).await.map(tonic::Response::into_inner)
    }

    /// The status and the body that the admin port answers.
    async fn http(&self, method: &str, target: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).await.unwrap();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: loader\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn name_of(response: &LoadResponse) -> Option<&str> {
    match response.outcome.as_ref().unwrap() {
        load_response::Outcome::Value(value) => Some(std::str::from_utf8(value).unwrap()),
        load_response::Outcome::NotFound(_) => None,
    }
}

#[tokio::test]
async fn a_load_answers_a_name_or_not_found_and_is_counted_by_key() {
    let mut loader = start().await;
    let crab = loader.load(b"U+1F980").await.unwrap();
    assert_eq!((name_of(&crab), crab.version), (Some("CRAB"), Some(1)));
    let odd: [&[u8]; 5] = [b"U+0378", b"crab", b"u+1f980", b"", b"\xff\x00"];
    for key in odd {
        assert_eq!(name_of(&loader.load(key).await.unwrap()), None, "{}", key.escape_ascii());
    }
    let (_, loads) = loader.http("GET", "/loads?key=U+1F980", "").await;
    assert_eq!(loads, r#"{"key":"U+1F980","loads":1}"#);
    assert_eq!(loader.http("GET", "/loads?key=U%2B1F980", "").await.1, loads);
    assert_eq!(loader.http("GET", "/loads", "").await.1, r#"{"loads":6}"#);
    let (_, metrics) = loader.http("GET", "/metrics", "").await;
    assert!(metrics.contains("\nloads_total 6\n"), "{metrics}");
    assert!(metrics.contains("\nloads_not_found_total 5\n"), "{metrics}");
}

#[tokio::test]
async fn load_many_answers_in_the_order_asked_with_one_query() {
    let mut loader = start().await;
    let keys = ["U+1F980", "U+0378", "U+0041"].map(|key| bytes::Bytes::from_static(key.as_bytes()));
    let request = LoadManyRequest { group: "unicode".into(), keys: keys.to_vec() };
    let results = loader.client.load_many(request).await.unwrap().into_inner().results;
    let names: Vec<_> = results
        .iter()
        .map(|result| match result.result.as_ref().unwrap() {
            load_result::Result::Response(response) => name_of(response),
            load_result::Result::Failure(failure) => panic!("{failure:?}"),
        })
        .collect();
    assert_eq!(names, [Some("CRAB"), None, Some("LATIN CAPITAL LETTER A")]);
    let (_, metrics) = loader.http("GET", "/metrics", "").await;
    assert!(metrics.contains("\nqueries_total 1\n"), "{metrics}");
    assert!(metrics.contains("\nloads_total 3\n"), "{metrics}");

    let too_many = LoadManyRequest { group: "unicode".into(), keys: vec![keys[0].clone(); 1_025] };
    assert_eq!(loader.client.load_many(too_many).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_name_that_is_changed_is_loaded_with_a_higher_version() {
    let mut loader = start().await;
    let (status, row) = loader.http("PUT", "/names/U+1F980", "KING CRAB\n").await;
    assert_eq!((status, row.as_str()), (200, r#"{"key":"U+1F980","name":"KING CRAB","version":2}"#));
    let crab = loader.load(b"U+1F980").await.unwrap();
    assert_eq!((name_of(&crab), crab.version), (Some("KING CRAB"), Some(2)));
    assert_eq!(loader.http("PUT", "/names/crab", "CRAB").await.0, 400);
    assert_eq!(loader.http("GET", "/names/U+0378", "").await.0, 404);
}

#[tokio::test]
async fn faults_fail_loads_until_they_are_lifted() {
    let mut loader = start().await;
    let (status, faults) = loader.http("PUT", "/faults", r#"{"fail": true}"#).await;
    assert_eq!((status, faults.as_str()), (200, r#"{"delay_ms":0,"fail":true}"#));
    assert_eq!(loader.load(b"U+1F980").await.unwrap_err().code(), Code::Unavailable);
    for refused in [r#"{"delay_ms": 600001}"#, r#"{"slow": 1}"#, "yes"] {
        assert_eq!(loader.http("PUT", "/faults", refused).await.0, 400, "{refused}");
    }
    assert_eq!(loader.http("PUT", "/faults", "{}").await.0, 200);
    assert_eq!(name_of(&loader.load(b"U+1F980").await.unwrap()), Some("CRAB"));
}

#[tokio::test]
async fn a_load_under_way_is_answered_although_the_loader_stops() {
    let loader = start().await;
    loader.http("PUT", "/faults", r#"{"delay_ms": 300}"#).await;
    let mut client = loader.client.clone();
    let request = LoadRequest { group: "unicode".into(), key: bytes::Bytes::from_static(b"U+1F980") };
    let load = tokio::spawn(async move { client.load(request).await });
    while !loader.http("GET", "/loads", "").await.1.contains('1') {
        tokio::task::yield_now().await;
    }
    loader.stop.send(()).unwrap();
    assert_eq!(name_of(&load.await.unwrap().unwrap().into_inner()), Some("CRAB"));
    drop(loader.client);
    loader.serving.await.unwrap().unwrap();
}
