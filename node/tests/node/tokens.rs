//! Tokens at the data port: every door asks for one, each allows what its rule says, and both change while calls run.

use std::fs;
use std::time::Duration;

use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_process::shutdown::Shutdown;
use groupcache_proto::cache::{
    FillRequest, FlushRequest, GetManyRequest, RemoveManyRequest, StreamRequest, stream_request,
    stream_response,
};
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{self, Access, Configuration, DescribeRequest, TokenRule, Verb};
use groupcache_proto::family;
use groupcache_proto::family::group_cache_client::GroupCacheClient;
use groupcache_ring::Version;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{
    Cluster, Source, apply, channel, client, config, get, http, metric, put, remove, set, text, users,
};

const READER: &str = "reader-0123456789abcdef";
const WRITER: &str = "writer-0123456789abcdef";
const OTHER: &str = "other-0123456789abcdef";

/// Between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);

fn rule(name: &str, groups: &[&str], verbs: &[Verb]) -> TokenRule {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    TokenRule { name: name.into(), groups, verbs: verbs.iter().map(|verb| (*verb).into()).collect() }
}

fn configured(source: &Source, tokens: Vec<TokenRule>) -> Configuration {
    let mut configuration = users(source.address);
    let orders = cluster::Group { name: "orders".into(), aliases: vec![], ..configuration.groups[0].clone() };
    configuration.groups.push(orders);
    configuration.access = Some(Access { open: false, tokens });
    configuration
}

/// One node with three tokens, and without a configuration.
async fn unconfigured() -> (Node, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, token) in [("reader", READER), ("writer", WRITER), ("other", OTHER)] {
        fs::write(folder.path().join(name), format!("{token}\n")).unwrap();
    }
    let config = Config { token_dir: Some(folder.path().to_owned()), ..config("a") };
    (Node::start(config, Shutdown::new(), None).await.unwrap(), folder)
}

/// The same with the groups `users` and `orders`: `reader` may Get users, `writer` everything there, `other` may Get everywhere.
async fn start(source: &Source) -> (Cluster, TempDir) {
    let (node, folder) = unconfigured().await;
    let every = [Verb::Get, Verb::Set, Verb::Remove];
    let tokens = vec![
        rule("reader", &["users"], &[Verb::Get]),
        rule("writer", &["users"], &every),
        rule("other", &[], &[Verb::Get]),
    ];
    let cluster = Cluster { nodes: vec![node], configuration: configured(source, tokens) };
    let answer = apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 1))).await;
    assert_eq!(answer.faults, Vec::<String>::new());
    cluster.serve().await;
    (cluster, folder)
}

fn with<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !token.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

fn code<T>(result: Result<T, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// What every unary call of an application comes to with this token, in the group `users` or another.
async fn every_call(node: &Node, token: &str, group: &str) -> Vec<(&'static str, Code)> {
    let mut grpc = client(node).await;
    let (group, key) = (group.to_owned(), bytes::Bytes::from_static(b"k"));
    let mut one = get("k");
    one.group.clone_from(&group);
    let many = GetManyRequest { group: group.clone(), keys: vec![key.clone()] };
    let mut stored = set("k", "v");
    stored.group.clone_from(&group);
    let mut removed = remove("k");
    removed.group.clone_from(&group);
    let removed_many = RemoveManyRequest { group: group.clone(), keys: vec![key.clone()] };
    let flushed = FlushRequest { group: group.clone() };
    let mut family = GroupCacheClient::new(channel(node.data).await);
    let asked = family::GetRequest { group: group.into_bytes().into(), key };
    vec![
        ("Get", code(grpc.get(with(token, one)).await)),
        ("GetMany", code(grpc.get_many(with(token, many)).await)),
        ("family", code(family.get(with(token, asked)).await)),
        ("Set", code(grpc.set(with(token, stored)).await)),
        ("Remove", code(grpc.remove(with(token, removed)).await)),
        ("RemoveMany", code(grpc.remove_many(with(token, removed_many)).await)),
        ("Flush", code(grpc.flush(with(token, flushed)).await)),
    ]
}

/// Turned red by: a door beside the gate, or a call that is made without asking the rules.
#[tokio::test]
async fn every_door_asks_for_a_token_but_health_and_reflection() {
    let source = Source::start().await;
    let (cluster, _folder) = start(&source).await;
    let node = &cluster.nodes[0];
    for token in ["", "unknown-0123456789abcdef"] {
        for (call, code) in every_call(node, token, "users").await {
            assert_eq!(code, Code::Unauthenticated, "{call}");
        }
        let mut grpc = client(node).await;
        assert_eq!(code(grpc.fill(with(token, FillRequest::default())).await), Code::Unauthenticated);
        let stream = grpc.stream(with(token, tokio_stream::empty::<StreamRequest>())).await;
        assert_eq!(code(stream), Code::Unauthenticated);
        let mut describe = ClusterServiceClient::new(channel(node.data).await);
        assert_eq!(code(describe.describe(with(token, DescribeRequest {})).await), Code::Unauthenticated);
        let header =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        for (method, path) in [
            ("GET", "/v1/groups/users/keys/k"),
            ("HEAD", "/v1/groups/users/keys/k"),
            ("DELETE", "/v1/groups/users/keys/k"),
            ("DELETE", "/v1/groups/users/keys"),
            ("POST", "/v1/groups/users/keys/k"),
            ("GET", "/v1/groups/no-such-group/keys/k"),
            ("GET", "/elsewhere"),
        ] {
            let answer = http(node.data, method, path, &header).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{method} {path}: {answer}");
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{method} {path}: {answer}");
            assert!(method == "HEAD" || answer.contains("/problems/unauthenticated"), "{answer}");
            assert!(!answer.contains("0123456789"), "a token is repeated: {answer}");
        }
        let answer = put(node.data, "/v1/groups/users/keys/k", &header, &[b'x'; 3 << 20]).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let mut health = HealthClient::new(channel(node.data).await);
    let answer = health.check(HealthCheckRequest { service: String::new() }).await.unwrap();
    assert_eq!(answer.get_ref().status, 1);
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let mut grpc = tonic::client::Grpc::new(channel(node.data).await);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<DescribeRequest, DescribeRequest>::default();
    let asked = grpc.server_streaming(Request::new(DescribeRequest {}), reflection.parse().unwrap(), codec);
    assert!(asked.await.is_ok());
    assert!(metric(node, "groupcache_access_refused_total{reason=\"missing\"}").await >= 18);
    assert!(metric(node, "groupcache_access_refused_total{reason=\"unknown\"}").await >= 18);
}

#[tokio::test]
async fn a_token_allows_what_its_rule_says_and_rules_change_while_nodes_run() {
    let source = Source::start().await;
    let (mut cluster, _folder) = start(&source).await;
    let allowed = |calls: &[(&'static str, Code)]| -> Vec<&str> {
        assert!(calls.iter().all(|(_, code)| matches!(code, Code::Ok | Code::PermissionDenied)), "{calls:?}");
        calls.iter().filter(|(_, code)| *code == Code::Ok).map(|(call, _)| *call).collect()
    };
    let reads = ["Get", "GetMany", "family"];
    let node = &cluster.nodes[0];
    assert_eq!(allowed(&every_call(node, READER, "users").await), reads);
    assert_eq!(allowed(&every_call(node, READER, "old/users").await), reads, "by its alias");
    assert_eq!(allowed(&every_call(node, READER, "orders").await), [""; 0]);
    assert_eq!(allowed(&every_call(node, WRITER, "users").await).len(), 7);
    assert_eq!(allowed(&every_call(node, WRITER, "orders").await), [""; 0]);
    assert_eq!(allowed(&every_call(node, OTHER, "orders").await), reads);

    let refused = client(node).await.remove(with(READER, remove("k"))).await.unwrap_err();
    assert_eq!(refused.message(), r#"the token "reader" does not allow Remove in the group "users""#);
    let info = tonic_types::StatusExt::get_details_error_info(&refused).unwrap();
    assert_eq!(info.reason, "NOT_ALLOWED");
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    for (method, path, token, status) in [
        ("GET", "/v1/groups/users/keys/k", READER, 200),
        ("DELETE", "/v1/groups/users/keys/k", READER, 403),
        ("DELETE", "/v1/groups/users/keys", READER, 403),
        ("DELETE", "/v1/groups/users/keys/k", WRITER, 204),
        ("GET", "/v1/groups/orders/keys/k", WRITER, 403),
        // Who may not ask about every group is not told which there are.
        ("GET", "/v1/groups/no-such-group/keys/k", WRITER, 403),
        ("GET", "/v1/groups/no-such-group/keys/k", OTHER, 400),
        ("GET", "/elsewhere", READER, 404),
    ] {
        let answer = http(node.data, method, path, &bearer(token)).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
    }
    for (token, status) in [(READER, 403), (WRITER, 204)] {
        let answer = put(node.data, "/v1/groups/users/keys/k", &bearer(token), b"v").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }

    let access = cluster.configuration.access.as_mut().unwrap();
    access.tokens[0].verbs = vec![Verb::Remove.into()];
    access.tokens.remove(2);
    apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 2))).await;
    let node = &cluster.nodes[0];
    assert_eq!(allowed(&every_call(node, READER, "users").await), ["Remove", "RemoveMany", "Flush"]);
    for (call, code) in every_call(node, OTHER, "users").await {
        assert_eq!(code, Code::Unauthenticated, "{call}: a token without a rule");
    }
    cluster.configuration.access = Some(Access { open: true, tokens: vec![] });
    apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 3))).await;
    assert_eq!(allowed(&every_call(&cluster.nodes[0], "", "users").await).len(), 7);
    // An operator that knows nothing of tokens does not open what was closed.
    cluster.configuration.access = None;
    apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 4))).await;
    for (call, code) in every_call(&cluster.nodes[0], READER, "users").await {
        assert_eq!(code, Code::Unauthenticated, "{call}");
    }
}

#[tokio::test]
async fn before_there_are_rules_nobody_is_answered_and_sent_elsewhere() {
    let (node, _folder) = unconfigured().await;
    for token in ["", READER] {
        for (call, code) in every_call(&node, token, "users").await {
            assert_eq!(code, Code::Unavailable, "{call}");
        }
    }
    assert!(http(node.data, "GET", "/v1/groups/users/keys/k", "").await.starts_with("HTTP/1.1 503 "));
}

#[tokio::test]
async fn headers_that_are_hostile_or_odd_are_refused() {
    let source = Source::start().await;
    let (cluster, _folder) = start(&source).await;
    let (address, path) = (cluster.nodes[0].data, "/v1/groups/users/keys/k");
    let huge = "x".repeat(12 << 10);
    for header in [
        format!("authorization: Bearer {READER}\r\nauthorization: Bearer {READER}\r\n"),
        format!("authorization: Bearer {READER}\r\nAuthorization: Basic eDp5\r\n"),
        format!("authorization: Bearer {READER}, Bearer {WRITER}\r\n"),
        format!("authorization: Basic {READER}\r\n"),
        format!("authorization: {READER}\r\n"),
        format!("authorization: Bearer {huge}\r\n"),
        format!("proxy-authorization: Bearer {READER}\r\n"),
        "authorization: Bearer \u{fc}\u{fc}\u{fc}\u{fc}\r\n".to_owned(),
        "authorization:\r\n".to_owned(),
    ] {
        let answer = http(address, "GET", path, &header).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{header:.60}: {answer}");
        assert!(!answer.contains("0123456789") && answer.len() < 1024, "{answer}");
    }
    let beyond = format!("authorization: Bearer {}\r\n", "x".repeat(64 << 10));
    let answer = http(address, "GET", path, &beyond).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    let answer = http(address, "GET", path, &format!("AUTHORIZATION: bearer {READER}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// A stream under a token, that answers one message at a time.
struct Talk {
    requests: mpsc::Sender<StreamRequest>,
    answers: tonic::Streaming<groupcache_proto::cache::StreamResponse>,
}

impl Talk {
    async fn begin(node: &Node, token: &str) -> Self {
        let (requests, incoming) = mpsc::channel(1);
        let stream = client(node).await.stream(with(token, ReceiverStream::new(incoming))).await;
        Talk { requests, answers: stream.unwrap().into_inner() }
    }

    async fn ask(&mut self, call: stream_request::Call) -> Result<String, Code> {
        self.requests.send(StreamRequest { id: 1, deadline_ms: 0, call: Some(call) }).await.unwrap();
        match self.answers.message().await.unwrap().unwrap().answer.unwrap() {
            stream_response::Answer::Get(answer) => Ok(text(&answer)),
            stream_response::Answer::Failure(failure) => Err(Code::from_i32(failure.code)),
            _ => Ok(String::new()),
        }
    }
}

/// Turned red by: a stream that is checked when it begins and never again.
#[tokio::test]
async fn each_message_of_a_stream_is_checked_and_a_replaced_token_ends_on_it_too() {
    let source = Source::start().await;
    let (cluster, folder) = start(&source).await;
    let node = &cluster.nodes[0];
    let (mut reader, mut writer) = (Talk::begin(node, READER).await, Talk::begin(node, WRITER).await);
    assert_eq!(reader.ask(stream_request::Call::Get(get("k"))).await, Ok("k".into()));
    for call in [
        stream_request::Call::Set(set("k", "v")),
        stream_request::Call::Remove(remove("k")),
        stream_request::Call::RemoveMany(RemoveManyRequest { group: "users".into(), keys: vec!["k".into()] }),
        stream_request::Call::GetMany(GetManyRequest { group: "orders".into(), keys: vec!["k".into()] }),
    ] {
        assert_eq!(reader.ask(call).await, Err(Code::PermissionDenied));
    }
    assert_eq!(writer.ask(stream_request::Call::Set(set("k", "v"))).await, Ok(String::new()));

    let new = "reader-of-tomorrow-0123456789";
    fs::write(folder.path().join("reader"), new).unwrap();
    while reader.ask(stream_request::Call::Get(get("k"))).await != Err(Code::Unauthenticated) {
        // The other's calls go on while the folder is read again.
        assert_eq!(writer.ask(stream_request::Call::Get(get("k"))).await, Ok("v".into()));
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(writer.ask(stream_request::Call::Get(get("k"))).await, Ok("v".into()));
    assert_eq!(Talk::begin(node, new).await.ask(stream_request::Call::Get(get("k"))).await, Ok("v".into()));
    assert_eq!(code(client(node).await.get(with(READER, get("k"))).await), Code::Unauthenticated);
}
