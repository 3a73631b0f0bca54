//! What the tests stand on: a loader that counts, clusters of nodes, and clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_node::transport::peers::Patience;
use groupcache_process::shutdown::Shutdown;
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use groupcache_proto::cache::{
    GetRequest, GetResponse, PartialDetail, RemoveRequest, SetRequest, get_response,
};
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{self, ApplyRequest, ApplyResponse, Configuration};
use groupcache_proto::convert;
use groupcache_proto::loader::loader_service_server::{LoaderService, LoaderServiceServer};
use groupcache_proto::loader::{self, LoadManyRequest, LoadManyResponse, LoadRequest, LoadResponse};
use groupcache_ring::{Member, Snapshot, State, Version};
use parking_lot::Mutex;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

/// A loader whose keys say what it does: `none…` are absent, `fail…` fail, `slow…` wait until let go, all others have a value.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) address: SocketAddr,
    truth: Arc<Mutex<HashMap<Bytes, Bytes>>>,
    loads: Arc<Mutex<HashMap<Bytes, u64>>>,
    /// Slow loads that may go on.
    pub(crate) go: Arc<Semaphore>,
    /// Slow loads that have begun.
    pub(crate) begun: Arc<Semaphore>,
}

impl Source {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let source = Source {
            address: listener.local_addr().unwrap(),
            truth: Arc::default(),
            loads: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
            begun: Arc::new(Semaphore::new(0)),
        };
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server =
            tonic::transport::Server::builder().add_service(LoaderServiceServer::new(source.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        source
    }

    pub(crate) fn put(&self, key: &str, value: &str) {
        self.truth.lock().insert(Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    }

    pub(crate) fn loads_of(&self, key: &str) -> u64 {
        self.loads.lock().get(key.as_bytes()).copied().unwrap_or_default()
    }
}

#[tonic::async_trait]
impl LoaderService for Source {
    async fn load(&self, request: Request<LoadRequest>) -> Result<Response<LoadResponse>, Status> {
        let key = request.into_inner().key;
        *self.loads.lock().entry(key.clone()).or_default() += 1;
        if key.starts_with(b"fail") {
            return Err(Status::data_loss("the disk is gone"));
        }
        if key.starts_with(b"absent-by-status") {
            return Err(Status::not_found("no row"));
        }
        if key.starts_with(b"slow") {
            self.begun.add_permits(1);
            self.go.acquire().await.unwrap().forget();
        }
        let outcome = if key.starts_with(b"none") {
            loader::load_response::Outcome::NotFound(loader::NotFound {})
        } else {
            let truth = self.truth.lock().get(&key).cloned();
            loader::load_response::Outcome::Value(truth.unwrap_or(key))
        };
        Ok(Response::new(LoadResponse { outcome: Some(outcome), ttl_ms: None, version: Some(7) }))
    }

    async fn load_many(&self, _: Request<LoadManyRequest>) -> Result<Response<LoadManyResponse>, Status> {
        Err(Status::unimplemented("Load is enough"))
    }
}

/// One group called `users` with a loader at `address`.
pub(crate) fn users(address: SocketAddr) -> Configuration {
    let kind = cluster::loader::Kind::Grpc(cluster::GrpcLoader {
        target: address.to_string(),
        authority: String::new(),
    });
    configuration(kind)
}

pub(crate) fn configuration(kind: cluster::loader::Kind) -> Configuration {
    Configuration {
        groups: vec![cluster::Group {
            name: "users".into(),
            aliases: vec!["old/users".into()],
            loader: "source".into(),
            max_bytes: 16 << 20,
            hot_percent: 11,
            negative_ttl_ms: 60_000,
            ..Default::default()
        }],
        loaders: vec![cluster::Loader {
            name: "source".into(),
            kind: Some(kind),
            timeout_ms: 10_000,
            ..Default::default()
        }],
        // Short, because a node serves no copies in its first bound; longer than a busy machine lets a beat wait.
        staleness_bound_ms: 2_000,
        purge_timeout_ms: 1_000,
        access: None,
    }
}

/// Between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// Nodes with one membership.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) configuration: Configuration,
}

/// A node's settings for tests: patient, because the machines are noisy.
pub(crate) fn config(name: &str) -> Config {
    let patience = Patience { first: Duration::from_secs(5), next: Duration::from_secs(10) };
    Config { patience, ..Config::local(name) }
}

pub(crate) async fn start(config: Config) -> Node {
    Node::start(config, Shutdown::new(), None).await.unwrap()
}

impl Cluster {
    /// Starts nodes called a, b, c… and pushes a first snapshot to each.
    pub(crate) async fn start(count: usize, configuration: Configuration) -> Self {
        let mut nodes = Vec::new();
        for name in ["a", "b", "c", "d", "e"].iter().take(count) {
            nodes.push(start(config(name)).await);
        }
        let cluster = Cluster { nodes, configuration };
        for node in &cluster.nodes {
            let answer = apply(node, cluster.snapshot(Version::new(1, 1))).await;
            assert_eq!(answer.faults, Vec::<String>::new());
        }
        cluster.serve().await;
        cluster
    }

    /// Waits until every node may serve copies.
    pub(crate) async fn serve(&self) {
        for node in &self.nodes {
            serves(node).await;
        }
    }

    /// A snapshot of all nodes.
    pub(crate) fn snapshot(&self, version: Version) -> cluster::Snapshot {
        snapshot(version, self.members(), self.configuration.clone())
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |node: &Node| Member {
            boot: node.membership().me().boot,
            ..Member::active(&*node.membership().me().name, node.cluster.to_string())
        };
        self.nodes.iter().map(member).collect()
    }

    /// A key of which the node at `owner` is the first owner.
    pub(crate) fn key_of(&self, owner: usize, prefix: &str) -> String {
        let ring = groupcache_ring::Ring::new(&self.members());
        let keys = (0..).map(|n| format!("{prefix}-{n}"));
        keys.into_iter().find(|key| ring.owner(key.as_bytes()) == Some(owner)).unwrap()
    }
}

pub(crate) fn snapshot(
    version: Version,
    members: Vec<Member>,
    configuration: Configuration,
) -> cluster::Snapshot {
    // Settled, and granted by an odd number of members.
    let active = members.iter().filter(|member| member.state == State::Active);
    let mut grantors: Vec<String> = active.map(|member| member.name.clone()).collect();
    if grantors.len().is_multiple_of(2) {
        grantors.pop();
    }
    let made = Snapshot::new("uid", version, version, grantors, members).unwrap();
    convert::snapshot_to_wire(&made, configuration)
}

/// Waits until a node may serve copies.
pub(crate) async fn serves(node: &Node) {
    while !node.groups().grants().serves_now() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A number of a node's metrics.
pub(crate) async fn metric(node: &Node, name: &str) -> u64 {
    let metrics = http(node.admin, "GET", "/metrics", "").await;
    let line = metrics.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}")).rsplit(' ').next().unwrap().parse().unwrap()
}

pub(crate) async fn apply(node: &Node, snapshot: cluster::Snapshot) -> ApplyResponse {
    let request = ApplyRequest { snapshot: Some(convert::unsigned(&snapshot)), ..Default::default() };
    cluster_client(node).apply(request).await.unwrap().into_inner()
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) fn cluster_client(node: &Node) -> ClusterServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", node.cluster)).unwrap();
    ClusterServiceClient::new(endpoint.connect_lazy())
}

pub(crate) async fn client(node: &Node) -> CacheServiceClient<Channel> {
    CacheServiceClient::new(channel(node.data).await)
}

pub(crate) fn get(key: impl Into<Bytes>) -> GetRequest {
    GetRequest { group: "users".into(), key: key.into(), fill_token_wanted: false }
}

pub(crate) fn set(key: &str, value: impl Into<Bytes>) -> SetRequest {
    let (group, key) = ("users".into(), Bytes::from(key.to_owned()));
    SetRequest { group, key, value: value.into(), ttl_ms: None, source_version: None }
}

pub(crate) fn remove(key: &str) -> RemoveRequest {
    RemoveRequest { group: "users".into(), key: Bytes::from(key.to_owned()), source_version: None }
}

/// The nodes that a failure names.
pub(crate) fn named(status: &Status) -> Vec<String> {
    let rich = tonic_types::Status::decode(status.details()).unwrap();
    assert_eq!(rich.details[0].type_url, "type.googleapis.com/groupcache.v1.PartialDetail");
    assert_eq!(tonic_types::StatusExt::get_details_error_info(status).unwrap().reason, "PARTIAL");
    let detail = PartialDetail::decode(&*rich.details[0].value).unwrap();
    let mut named: Vec<_> = detail.failures.into_iter().map(|failure| failure.node).collect();
    named.sort();
    named
}

/// The value a node answers.
pub(crate) async fn value(node: &Node, key: &str) -> String {
    let answer = client(node).await.get(get(key.to_owned())).await.unwrap().into_inner();
    text(&answer)
}

pub(crate) fn text(answer: &GetResponse) -> String {
    match &answer.outcome {
        Some(get_response::Outcome::Value(value)) => String::from_utf8_lossy(value).into_owned(),
        other => panic!("no value but {other:?}"),
    }
}

/// Sends bytes as they are, and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

/// One HTTP/1.1 request with a raw path.
pub(crate) async fn http(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
    String::from_utf8_lossy(&raw(address, request.as_bytes()).await).into_owned()
}

/// A PUT of a value.
pub(crate) async fn put(address: SocketAddr, path: &str, headers: &str, value: &[u8]) -> String {
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        value.len()
    );
    String::from_utf8_lossy(&raw(address, &[head.as_bytes(), value].concat()).await).into_owned()
}
