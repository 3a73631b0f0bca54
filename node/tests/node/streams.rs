//! Nodes speak over a few streams: many calls at once, none behind a slow or a large one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use groupcache_group::peer::{
    BeatRequest, FetchOutcome, FetchRequest, Fetched, PeekRequest, PeerError, Peers, PurgeRequest, Purged,
    RemoveId, StoreRequest,
};
use groupcache_group::value::{Entry, Key, Outcome};
use groupcache_node::metrics::PeerMetrics;
use groupcache_node::node::Node;
use groupcache_node::transport::control::Control;
use groupcache_node::transport::dialing::Dialer;
use groupcache_node::transport::doors;
use groupcache_node::transport::peers::{Patience, TonicPeers};
use groupcache_proto::cluster::{AnnounceRequest, ApplyRequest, ApplyResponse, SignedSnapshot};
use groupcache_ring::{Member, Version};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::proxy::Proxy;
use crate::support::{Cluster, Source, config, start, users, value};

const EXCHANGE: &str = "/groupcache.cluster.v1.ClusterService/Exchange";

/// Larger than what goes over a stream.
const LARGE: usize = 512 << 10;

/// The way from a node called `x` to others.
pub(crate) fn peers(patience: Patience) -> Arc<TonicPeers> {
    let (heard, _) = mpsc::channel(1);
    Arc::new(TonicPeers::new("x".into(), 1, Dialer::tcp(), patience, heard, PeerMetrics::default()))
}

/// Patient, because the machines are noisy.
pub(crate) fn patient() -> Patience {
    Patience { first: Duration::from_secs(10), next: Duration::from_secs(10) }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

pub(crate) fn fetch_of(key: &str) -> FetchRequest {
    let (key, version) = (Key::new(key.to_owned(), 1024).unwrap(), Version::new(1, 1));
    FetchRequest { group: "users".into(), key, version, deadline: soon() }
}

/// The value that a fetch brought.
pub(crate) fn fetched(answer: Result<Fetched, PeerError>) -> Bytes {
    match answer.unwrap().outcome {
        FetchOutcome::Entry { entry: Entry { outcome: Outcome::Value(value), .. }, .. } => value,
        other => panic!("no value but {other:?}"),
    }
}

pub(crate) fn purge_of(key: &str) -> PurgeRequest {
    PurgeRequest {
        group: "users".into(),
        what: Purged::Keys([Key::new(key.to_owned(), 1024).unwrap()].into()),
        window: Duration::from_millis(1),
        source_version: None,
        id: RemoveId(1),
        round: 1,
        version: Version::new(1, 1),
        deadline: soon(),
    }
}

/// One node, as a member of that address.
pub(crate) async fn one(source: &Source) -> (Cluster, Member) {
    let cluster = Cluster { nodes: vec![start(config("a")).await], configuration: users(source.address) };
    crate::support::apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 1))).await;
    cluster.serve().await;
    let member = cluster.members().remove(0);
    (cluster, member)
}

pub(crate) fn at(member: &Member, address: SocketAddr) -> Member {
    Member { address: address.to_string(), ..member.clone() }
}

/// The cluster port of a node once more, with its streams counted, and refused if told so.
struct Front {
    address: SocketAddr,
    streams: Arc<AtomicUsize>,
}

impl Front {
    async fn of(node: &Node, serves_streams: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let front = Front { address: listener.local_addr().unwrap(), streams: Arc::default() };
        let streams = Arc::clone(&front.streams);
        let count = middleware::from_fn(move |request: Request, next: Next| {
            let streams = Arc::clone(&streams);
            async move {
                if request.uri().path() == EXCHANGE {
                    streams.fetch_add(1, Ordering::Relaxed);
                    if !serves_streams {
                        let refused: Response<Body> = Status::unimplemented("an older release").into_http();
                        return refused;
                    }
                }
                next.run(request).await
            }
        });
        let router = doors::cluster(Arc::clone(node.groups()), Arc::new(Unknowing)).layer(count);
        tokio::spawn(async move { axum::serve(listener, router).await });
        front
    }

    fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }
}

/// Knows nothing of memberships.
struct Unknowing;

impl Control for Unknowing {
    fn name(&self) -> &str {
        "a"
    }

    fn pod_uid(&self) -> &str {
        ""
    }

    fn boot(&self) -> u64 {
        7
    }

    fn is_draining(&self) -> bool {
        false
    }

    fn apply(&self, _: ApplyRequest) -> BoxFuture<'_, ApplyResponse> {
        Box::pin(async { ApplyResponse::default() })
    }

    fn snapshot(&self) -> Option<SignedSnapshot> {
        None
    }

    fn announced(&self, _: &AnnounceRequest) {}

    fn heard(&self, _: &str, _: Version) {}

    fn catch_up(&self, _: &str, _: Version, _: Instant) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Turned red by: a stream for each call, or a connection for each stream.
#[tokio::test]
async fn a_thousand_fetches_at_once_share_one_connection_and_two_streams() {
    let source = Source::start().await;
    let (cluster, _) = one(&source).await;
    let front = Front::of(&cluster.nodes[0], true).await;
    let proxy = Proxy::to(front.address).await;
    let (peers, a) = (peers(patient()), Member::active("a", proxy.address.to_string()));
    let fetches = (0..1000).map(|n| {
        let (peers, a) = (Arc::clone(&peers), a.clone());
        tokio::spawn(async move { peers.fetch(&a, fetch_of(&format!("slow-{}", n % 10))).await })
    });
    let fetches: Vec<_> = fetches.collect();
    source.go.add_permits(10);
    for (n, fetch) in join_all(fetches).await.into_iter().enumerate() {
        assert_eq!(fetched(fetch.unwrap()), format!("slow-{}", n % 10));
    }
    assert_eq!((proxy.taken(), front.streams()), (1, 2));
    // A third for what must not stand in line, and no more whatever else is asked.
    peers.purge(&a, purge_of("k")).await.unwrap();
    assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "k");
    peers.purge(&a, purge_of("k")).await.unwrap();
    assert_eq!((proxy.taken(), front.streams()), (1, 3));
}

/// Turned red by: signs of life that are not sent, or not heeded.
#[tokio::test]
async fn signs_of_life_keep_a_slow_fetch_alive() {
    let source = Source::start().await;
    let (_cluster, a) = one(&source).await;
    let peers = peers(Patience { first: Duration::from_millis(500), next: Duration::from_secs(10) });
    let fetch = tokio::spawn(async move { peers.fetch(&a, fetch_of("slow")).await });
    source.begun.acquire().await.unwrap().forget();
    // Beyond the first patience: that it passes is what is tested.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(!fetch.is_finished(), "{:?}", fetch.await);
    source.go.add_permits(1);
    assert_eq!(fetched(fetch.await.unwrap()), "slow");
}

/// Turned red by: a fetch whose answer is still waited for, or a load that ends with its last waiter.
#[tokio::test]
async fn a_fetch_that_nobody_waits_for_is_withdrawn_and_its_load_goes_on() {
    let source = Source::start().await;
    let (cluster, a) = one(&source).await;
    let peers = peers(patient());
    let fetch = tokio::spawn({
        let (peers, a) = (Arc::clone(&peers), a.clone());
        async move { peers.fetch(&a, fetch_of("slow")).await }
    });
    source.begun.acquire().await.unwrap().forget();
    fetch.abort();
    let stats = || cluster.nodes[0].groups().get("users").unwrap().stats();
    while stats().abandoned == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    source.go.add_permits(1);
    assert_eq!(fetched(peers.fetch(&a, fetch_of("slow")).await), "slow");
    assert_eq!(source.loads_of("slow"), 1);
}

/// Turned red by: a caller that is not looked at when the answer is at hand.
#[tokio::test]
async fn another_process_than_the_one_meant_refuses() {
    let source = Source::start().await;
    let (cluster, a) = one(&source).await;
    assert_eq!(value(&cluster.nodes[0], "k").await, "k");
    let (peers, before) = (peers(patient()), Member { boot: a.boot ^ 1, ..a.clone() });
    for key in ["k", "other"] {
        let answer = peers.fetch(&before, fetch_of(key)).await;
        assert!(
            matches!(&answer, Err(PeerError::Refused(why)) if why.contains("started since")),
            "{answer:?}"
        );
    }
    let answer = peers.purge(&before, purge_of("k")).await;
    assert!(matches!(&answer, Err(PeerError::Refused(_))), "{answer:?}");
    assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "k");
}

/// Turned red by: UNIMPLEMENTED taken for a node that is not there.
#[tokio::test]
async fn a_node_that_knows_no_streams_is_spoken_to_in_calls() {
    let source = Source::start().await;
    let (cluster, _) = one(&source).await;
    let front = Front::of(&cluster.nodes[0], false).await;
    let (peers, a) = (peers(patient()), Member::active("a", front.address.to_string()));
    for key in ["k", "other"] {
        assert_eq!(fetched(peers.fetch(&a, fetch_of(key)).await), key);
    }
    let (key, version, deadline) = (Key::new("k", 1024).unwrap(), Version::new(1, 1), soon());
    let peek = PeekRequest { group: "users".into(), key: key.clone(), version, deadline };
    assert!(peers.peek(&a, peek).await.unwrap().entry.is_some());
    peers.beat(&a, BeatRequest { version, deadline }).await.unwrap();
    let ack = peers.purge(&a, purge_of("k")).await.unwrap();
    let entry = Entry {
        outcome: Outcome::Value("set".into()),
        loaded: Instant::now(),
        expires: None,
        source_version: None,
    };
    let store =
        StoreRequest { group: "users".into(), key, entry, generation: ack.generation, version, deadline };
    assert!(peers.store(&a, store).await.unwrap().stored);
    assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "set");
    assert_eq!(front.streams(), 1, "it is asked for a stream again and again");
}

/// Turned red by: large values on the streams of small ones, or a large store or look that fails there.
#[tokio::test]
async fn a_small_value_does_not_wait_behind_a_large_one() {
    let source = Source::start().await;
    source.put("large", &"v".repeat(LARGE));
    let (_cluster, a) = one(&source).await;
    let proxy = Proxy::to(a.address.parse().unwrap()).await;
    let (peers, a) = (peers(patient()), at(&a, proxy.address));
    assert_eq!(fetched(peers.fetch(&a, fetch_of("small-0")).await), "small-0");
    // Whoever comes by another connection waits.
    proxy.hold_from(1);
    let large = tokio::spawn({
        let (peers, a) = (Arc::clone(&peers), a.clone());
        async move { peers.fetch(&a, fetch_of("large")).await }
    });
    while proxy.taken() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for n in 1..10 {
        let key = format!("small-{n}");
        assert_eq!(fetched(peers.fetch(&a, fetch_of(&key)).await), key);
    }
    assert!(!large.is_finished());
    proxy.release();
    assert_eq!(fetched(large.await.unwrap()).len(), LARGE);
    let (key, version, deadline) = (Key::new("large", 1024).unwrap(), Version::new(1, 1), soon());
    let peek = PeekRequest { group: "users".into(), key: key.clone(), version, deadline };
    let entry = peers.peek(&a, peek).await.unwrap().entry.unwrap();
    assert_eq!(entry.value_bytes(), LARGE);
    let ack = peers.purge(&a, purge_of("large")).await.unwrap();
    let store =
        StoreRequest { group: "users".into(), key, entry, generation: ack.generation, version, deadline };
    assert!(peers.store(&a, store).await.unwrap().stored);
    assert_eq!((proxy.taken(), source.loads_of("large")), (2, 1));
}

/// Turned red by: large answers that are not kept until their asker comes for them.
#[tokio::test]
async fn a_large_value_that_no_cache_keeps_is_loaded_once_all_the_same() {
    let source = Source::start().await;
    // Over the group's limit: answered, not kept.
    source.put("huge", &"v".repeat(2 << 20));
    let (_cluster, a) = one(&source).await;
    let peers = peers(patient());
    assert_eq!(fetched(peers.fetch(&a, fetch_of("huge")).await).len(), 2 << 20);
    assert_eq!(source.loads_of("huge"), 1);
    assert_eq!(fetched(peers.fetch(&a, fetch_of("huge")).await).len(), 2 << 20);
    assert_eq!(source.loads_of("huge"), 2);
}

/// Turned red by: purges that want the places of fetches, or that stand in line behind them at the other node.
#[tokio::test]
async fn purges_and_beats_pass_a_thousand_slow_fetches() {
    let source = Source::start().await;
    let (cluster, a) = one(&source).await;
    let peers = peers(patient());
    let fetches: Vec<_> = (0..1100)
        .map(|_| {
            let (peers, a) = (Arc::clone(&peers), a.clone());
            tokio::spawn(async move { peers.fetch(&a, fetch_of("slow")).await })
        })
        .collect();
    let stats = || cluster.nodes[0].groups().get("users").unwrap().stats();
    source.begun.acquire().await.unwrap().forget();
    while stats().peer_gets < 1000 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let others = async {
        peers.purge(&a, purge_of("k")).await.unwrap();
        peers.beat(&a, BeatRequest { version: Version::new(1, 1), deadline: soon() }).await.unwrap();
    };
    timeout(Duration::from_secs(10), others).await.expect("they wait behind the fetches");
    assert!(fetches.iter().all(|fetch| !fetch.is_finished()));
    source.go.add_permits(1);
    for fetch in fetches {
        assert_eq!(fetched(fetch.await.unwrap()), "slow");
    }
}
