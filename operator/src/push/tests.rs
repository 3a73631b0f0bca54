//! Pushes to real gRPC servers on loopback that answer as nodes do.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use groupcache_proto::cluster::cluster_service_server::{ClusterService, ClusterServiceServer};
use groupcache_proto::{cluster, convert};
use groupcache_ring::{Member, Snapshot};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming};

use super::*;
use crate::report::{Applied, Report};

/// Longer than anything here takes; reached only if a wake is lost.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node that adopts what is newer.
#[derive(Debug, Default)]
struct Node {
    name: String,
    boot: u64,
    applied: Mutex<Version>,
    refuses: AtomicBool,
    told: AtomicU64,
    /// What it tells with every answer; while that is what the caller knows, it keeps answers back. 0: a node of an earlier release.
    state: watch::Sender<u64>,
}

impl Node {
    /// Waits until so many callers wait for news of it.
    async fn listened_to(&self, callers: usize) {
        let reached = async {
            while self.state.receiver_count() != callers {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("somebody listens");
    }
}

type NoStream<T> = futures::stream::Empty<Result<T, Status>>;

#[tonic::async_trait]
impl ClusterService for Node {
    type FetchStream = NoStream<cluster::FetchResponse>;
    type FetchManyStream = NoStream<cluster::FetchManyResponse>;
    type KeysOfStream = NoStream<cluster::KeysOfResponse>;
    type ExchangeStream = NoStream<cluster::ExchangeResponse>;

    async fn apply(
        &self,
        request: Request<cluster::ApplyRequest>,
    ) -> Result<Response<cluster::ApplyResponse>, Status> {
        let request = request.into_inner();
        if request.expected_node != self.name {
            return Err(Status::failed_precondition("this is another node"));
        }
        self.told.fetch_add(1, Ordering::SeqCst);
        let wait = Duration::from_millis(request.wait_ms.into());
        let mut state = self.state.subscribe();
        let news = state.wait_for(|state| *state != request.known_state || *state == 0);
        let _ = tokio::time::timeout(wait, news).await;
        let snapshot = convert::open(&request.snapshot.unwrap_or_default())
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let version = convert::version(snapshot.version.as_ref());
        let mut applied = self.applied.lock();
        let outcome = match version.cmp(&applied) {
            _ if self.refuses.load(Ordering::SeqCst) => cluster::ApplyOutcome::Refused,
            std::cmp::Ordering::Less => cluster::ApplyOutcome::Older,
            std::cmp::Ordering::Equal => cluster::ApplyOutcome::Unchanged,
            std::cmp::Ordering::Greater => cluster::ApplyOutcome::Adopted,
        };
        if outcome == cluster::ApplyOutcome::Adopted {
            *applied = version;
        }
        let faults =
            if outcome == cluster::ApplyOutcome::Refused { vec!["too much".to_owned()] } else { vec![] };
        Ok(Response::new(cluster::ApplyResponse {
            version: Some(convert::version_to_wire(*applied)),
            ring_hash: 7,
            boot: self.boot,
            outcome: outcome.into(),
            faults,
            certificate: String::new(),
            authorities: String::new(),
            loaders: Vec::new(),
            state: *self.state.borrow(),
        }))
    }

    async fn fetch_many(
        &self,
        _: Request<cluster::FetchManyRequest>,
    ) -> Result<Response<Self::FetchManyStream>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn fetch(&self, _: Request<cluster::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn peek(
        &self,
        _: Request<cluster::PeekRequest>,
    ) -> Result<Response<cluster::PeekResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn purge(
        &self,
        _: Request<cluster::PurgeRequest>,
    ) -> Result<Response<cluster::PurgeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn store(
        &self,
        _: Request<cluster::StoreRequest>,
    ) -> Result<Response<cluster::StoreResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn beat(
        &self,
        _: Request<cluster::BeatRequest>,
    ) -> Result<Response<cluster::BeatResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn bar(&self, _: Request<cluster::BarRequest>) -> Result<Response<cluster::BarResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn announce(
        &self,
        _: Request<cluster::AnnounceRequest>,
    ) -> Result<Response<cluster::AnnounceResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn fetch_snapshot(
        &self,
        _: Request<cluster::FetchSnapshotRequest>,
    ) -> Result<Response<cluster::FetchSnapshotResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn describe(
        &self,
        _: Request<cluster::DescribeRequest>,
    ) -> Result<Response<cluster::DescribeResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn keys_of(
        &self,
        _: Request<cluster::KeysOfRequest>,
    ) -> Result<Response<Self::KeysOfStream>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn peek_many(
        &self,
        _: Request<cluster::PeekManyRequest>,
    ) -> Result<Response<cluster::PeekManyResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn exchange(
        &self,
        _: Request<Streaming<cluster::ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A process of its own: when it is dropped its connections end too, as a killed node's do.
struct Server(Option<tokio::runtime::Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Serves a node until the server is dropped.
fn serve(node: Arc<Node>, at: SocketAddr) -> (SocketAddr, Server) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let listener = std::net::TcpListener::bind(at).expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("its address");
    runtime.spawn(async move {
        let listener = TcpListener::from_std(listener).expect("a socket");
        let server = tonic::transport::Server::builder().add_service(ClusterServiceServer::from_arc(node));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
    });
    (address, Server(Some(runtime)))
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn published(version: Version) -> Published {
    let members = vec![Member::active("c-0", "10.0.0.1:8081")];
    let snapshot = Snapshot::new("uid", version, Version::PROVISIONAL, Vec::new(), members).expect("sound");
    let wire = convert::snapshot_to_wire(&snapshot, cluster::Configuration::default());
    Published { version, snapshot: convert::unsigned(&wire) }
}

fn target(name: &str, address: SocketAddr) -> Target {
    Target { name: name.into(), pod_uid: format!("{name}-uid"), address: address.to_string(), keeper: None }
}

struct Harness {
    push: Push,
    key: Key,
    wakes: Wakes,
}

impl Harness {
    fn new() -> Self {
        let wakes = Wakes::new();
        let push = Push::new(wakes.clone(), Metrics::new(&mut Registry::default()));
        Harness { push, key: Key::new("c").within("shop"), wakes }
    }

    /// Waits for wakes until the report of this pod is as wanted.
    async fn until(&mut self, uid: &str, wanted: impl Fn(&Report) -> bool) -> Report {
        let reached = async {
            loop {
                let report = self.push.reports(&self.key).all().remove(uid).unwrap_or_default();
                if wanted(&report) {
                    return report;
                }
                self.wakes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.expect("the report comes")
    }
}

#[tokio::test]
async fn every_node_is_told_and_its_answer_is_kept() {
    let mut harness = Harness::new();
    let mut held = Vec::new();
    let mut targets = Vec::new();
    for name in ["c-0", "c-1"] {
        let node = Arc::new(Node { name: name.into(), boot: 42, ..Node::default() });
        let (address, server) = serve(node, any_port());
        held.push(server);
        targets.push(target(name, address));
    }
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), targets);
    for uid in ["c-0-uid", "c-1-uid"] {
        let report = harness.until(uid, |report| report.has(version)).await;
        assert_eq!(report.applied, Some(Applied { version, ring_hash: 7, boot: 42 }));
    }
}

#[tokio::test]
async fn a_newer_snapshot_goes_out_at_once_and_nothing_is_lost_by_many() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "c-0".into(), ..Node::default() });
    let (address, _server) = serve(Arc::clone(&node), any_port());
    let started = tokio::time::Instant::now();
    for sequence in 1..=100 {
        let newer = published(Version::new(1, sequence));
        harness.push.publish(&harness.key, newer, vec![target("c-0", address)]);
    }
    harness.until("c-0-uid", |report| report.has(Version::new(1, 100))).await;
    assert!(node.told.load(Ordering::SeqCst) < 100, "only the newest goes out");
    assert!(started.elapsed() < Duration::from_secs(3), "it does not wait for the time to ask again");
}

#[tokio::test]
async fn a_node_at_rest_is_listened_to_and_its_news_comes_at_once() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "c-0".into(), state: watch::Sender::new(1), ..Node::default() });
    let (address, _server) = serve(Arc::clone(&node), any_port());
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
    harness.until("c-0-uid", |report| report.has(version)).await;
    node.listened_to(1).await;

    let began = tokio::time::Instant::now();
    *node.applied.lock() = Version::new(1, 2);
    node.state.send_replace(2);
    harness.until("c-0-uid", |report| report.has(Version::new(1, 2))).await;
    assert!(began.elapsed() < node::TELL_AGAIN / 2, "it was not waited for the time to ask again");
    assert!(node.told.load(Ordering::SeqCst) <= 3, "told, listened to, and perhaps told again");
}

#[tokio::test]
async fn a_newer_snapshot_goes_out_although_the_node_is_listened_to() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "c-0".into(), state: watch::Sender::new(1), ..Node::default() });
    let (address, _server) = serve(Arc::clone(&node), any_port());
    let began = tokio::time::Instant::now();
    for sequence in 1..=3 {
        let version = Version::new(1, sequence);
        harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
        harness.until("c-0-uid", |report| report.has(version)).await;
        node.listened_to(1).await;
    }
    assert!(began.elapsed() < node::TELL_AGAIN, "no answer was waited for");
}

#[tokio::test]
async fn a_refusal_is_kept_with_its_faults_and_taken_back_later() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "c-0".into(), refuses: AtomicBool::new(true), ..Node::default() });
    let (address, _server) = serve(Arc::clone(&node), any_port());
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
    let report = harness.until("c-0-uid", |report| report.refusal.is_some()).await;
    let refusal = report.refusal.expect("it refused");
    assert_eq!((refusal.version, refusal.faults), (version, vec!["too much".to_owned()]));
    assert!(!harness.push.reports(&harness.key).all()["c-0-uid"].has(version));

    node.refuses.store(false, Ordering::SeqCst);
    let report = harness.until("c-0-uid", |report| report.has(version)).await;
    assert_eq!(report.refusal, None);
}

#[tokio::test]
async fn a_node_that_is_not_there_yet_is_tried_until_it_is() {
    let mut harness = Harness::new();
    let (address, server) = serve(Arc::new(Node::default()), any_port());
    drop(server);
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
    harness.until("c-0-uid", |report| report.unreachable.is_some()).await;

    let (_, _server) = serve(Arc::new(Node { name: "c-0".into(), ..Node::default() }), address);
    let report = harness.until("c-0-uid", |report| report.has(version)).await;
    assert_eq!(report.unreachable, None);
}

#[tokio::test]
async fn a_node_that_came_back_empty_is_found_although_nothing_changed() {
    let mut harness = Harness::new();
    let first = Arc::new(Node { name: "c-0".into(), boot: 1, ..Node::default() });
    let (address, server) = serve(first, any_port());
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
    harness.until("c-0-uid", |report| report.has(version)).await;

    drop(server);
    harness.until("c-0-uid", |report| report.unreachable.is_some()).await;
    let (_, _server) = serve(Arc::new(Node { name: "c-0".into(), boot: 2, ..Node::default() }), address);
    harness.until("c-0-uid", |report| report.applied.is_some_and(|applied| applied.boot == 2)).await;
}

#[tokio::test]
async fn a_node_that_is_ahead_says_so() {
    let mut harness = Harness::new();
    let ahead = Version::new(9, 9);
    let node = Arc::new(Node { name: "c-0".into(), applied: Mutex::new(ahead), ..Node::default() });
    let (address, _server) = serve(node, any_port());
    harness.push.publish(&harness.key, published(Version::new(1, 1)), vec![target("c-0", address)]);
    let report = harness.until("c-0-uid", |report| report.applied.is_some()).await;
    assert_eq!(report.applied.map(|applied| applied.version), Some(ahead));
    assert_eq!(crate::report::highest(&harness.push.reports(&harness.key).all()), ahead);
}

#[tokio::test]
async fn another_pod_at_the_address_is_not_taken_for_the_one_meant() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "other".into(), ..Node::default() });
    let (address, _server) = serve(node, any_port());
    harness.push.publish(&harness.key, published(Version::new(1, 1)), vec![target("c-0", address)]);
    let report = harness.until("c-0-uid", |report| report.unreachable.is_some()).await;
    assert!(report.unreachable.is_some_and(|why| why.contains("another node")));
}

#[tokio::test]
async fn who_is_gone_is_forgotten() {
    let mut harness = Harness::new();
    let node = Arc::new(Node { name: "c-0".into(), ..Node::default() });
    let (address, _server) = serve(node, any_port());
    let version = Version::new(1, 1);
    harness.push.publish(&harness.key, published(version), vec![target("c-0", address)]);
    harness.until("c-0-uid", |report| report.has(version)).await;
    harness.push.publish(&harness.key, published(version), Vec::new());
    assert!(harness.push.reports(&harness.key).all().is_empty());
    harness.push.forget(&harness.key);
    assert!(harness.push.clusters.lock().is_empty());
}
