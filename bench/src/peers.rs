//! Fetches from another node over one link: streams beside a call for each, in one run on loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Wall};

use anyhow::Context;
use bytes::Bytes;
use futures::future::BoxFuture;
use groupcache_group::grants::Grants;
use groupcache_group::group::{Origin, Settings};
use groupcache_group::groups::Groups;
use groupcache_group::loader::{FnLoader, Loaded};
use groupcache_group::peer::{FetchRequest, NoPeers, Peers};
use groupcache_group::value::Key;
use groupcache_group::view::View;
use groupcache_node::metrics::{ConnectionMetrics, PeerMetrics};
use groupcache_node::transport::control::Control;
use groupcache_node::transport::dialing::Dialer;
use groupcache_node::transport::doors;
use groupcache_node::transport::listener::{self, End, Limits};
use groupcache_node::transport::outgoing::Outgoing;
use groupcache_node::transport::peers::{Patience, TonicPeers};
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{self as wire, AnnounceRequest, ApplyRequest, ApplyResponse, SignedSnapshot};
use groupcache_ring::{Member, Version};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Keys in the other node's main cache.
const KEYS: usize = 1_000;

/// Bytes of each value: a small record.
const VALUE_BYTES: usize = 128;

/// How long a fetch may take: far longer than any does.
const DEADLINE: Duration = Duration::from_secs(10);

/// What one way of asking did with so many callers at once.
#[derive(Clone, Debug, Serialize)]
pub struct Rate {
    /// The way of asking.
    pub name: &'static str,
    /// Callers that each wait for their answer before they ask again.
    pub callers: usize,
    /// Fetches per second of all callers together, in the median round.
    pub per_second: f64,
    /// In the slowest and in the fastest round.
    pub spread: (f64, f64),
}

/// Measures each way of asking with each number of callers, in turn; the first way is what the others are compared with.
///
/// # Errors
/// If the other node cannot be started, or a fetch fails.
pub fn run(callers: &[usize], rounds: usize, operations: usize) -> anyhow::Result<Vec<Vec<Rate>>> {
    // A thread for each of the two nodes.
    let (theirs, ours) = (runtime()?, runtime()?);
    let (address, _groups) = theirs.block_on(serve())?;
    let asking = ours.block_on(async { Arc::new(Asking::of(address)) });
    let ways: [(&'static str, Way); 3] =
        [("Fetch, a call each", Way::Call), ("Peek, a call each", Way::Peek), ("streams", Way::Stream)];
    let mut tables = Vec::new();
    for &callers in callers {
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); ways.len()];
        for round in 0..=rounds {
            for ((_, way), rates) in ways.iter().zip(&mut rates) {
                let rate = ours.block_on(one_round(&asking, *way, callers, operations))?;
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        tables.push(ways.iter().zip(rates).map(|((name, _), rates)| figure(name, callers, rates)).collect());
    }
    Ok(tables)
}

fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Call,
    Peek,
    Stream,
}

/// All ways to ask.
struct Asking {
    peers: TonicPeers,
    member: Member,
    client: ClusterServiceClient<tonic::transport::Channel>,
    keys: Vec<Bytes>,
}

impl Asking {
    fn of(address: SocketAddr) -> Self {
        let (heard, _) = mpsc::channel(1);
        let patience = Patience { first: DEADLINE, next: DEADLINE };
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let endpoint = endpoint.expect("an address is a URL").tcp_nodelay(true);
        Asking {
            peers: TonicPeers::new("bench".into(), 1, Dialer::tcp(), patience, heard, PeerMetrics::default()),
            member: Member::active("cache-0", address.to_string()),
            client: ClusterServiceClient::new(endpoint.connect_lazy()),
            keys: keys().collect(),
        }
    }

    async fn ask(&self, way: Way, number: usize) -> anyhow::Result<()> {
        let key = self.keys[number % self.keys.len()].clone();
        let (deadline, version) = (Instant::now() + DEADLINE, Version::new(1, 1));
        match way {
            Way::Stream => {
                let request =
                    FetchRequest { group: "bench".into(), key: Key::new(key, 1_024)?, version, deadline };
                self.peers.fetch(&self.member, request).await.context("a fetch failed")?;
            }
            Way::Call => {
                let call =
                    wire::FetchRequest { caller: caller(), key, deadline_ms: 10_000, ..request_for("bench") };
                let mut client = self.client.clone();
                let mut answers = timeout_at(deadline, client.fetch(call)).await??.into_inner();
                timeout_at(deadline, answers.message()).await??.context("no answer")?;
            }
            Way::Peek => {
                let call = wire::PeekRequest { caller: caller(), group: "bench".into(), key };
                let mut client = self.client.clone();
                let answer = timeout_at(deadline, client.peek(call)).await??.into_inner();
                answer.value.context("no value")?;
            }
        }
        Ok(())
    }
}

fn request_for(group: &str) -> wire::FetchRequest {
    wire::FetchRequest { group: group.into(), ..Default::default() }
}

fn caller() -> Option<wire::Caller> {
    let version = Some(wire::Version { epoch: 1, sequence: 1 });
    Some(wire::Caller {
        node: "bench".into(),
        boot: 1,
        version,
        expected_boot: 0,
        expected_node: "cache-0".into(),
    })
}

fn keys() -> impl Iterator<Item = Bytes> {
    (0..KEYS).map(|n| Bytes::from(format!("user:{n:012}")))
}

/// Fetches per second of all callers.
fn one_round(
    asking: &Arc<Asking>,
    way: Way,
    callers: usize,
    operations: usize,
) -> impl Future<Output = anyhow::Result<f64>> {
    let asking = Arc::clone(asking);
    async move {
        let each = operations.div_ceil(callers);
        let begun = Wall::now();
        let tasks: Vec<_> = (0..callers)
            .map(|caller| {
                let asking = Arc::clone(&asking);
                tokio::spawn(async move {
                    for operation in 0..each {
                        asking.ask(way, caller * 37 + operation).await?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok((each * callers) as f64 / begun.elapsed().as_secs_f64())
    }
}

fn figure(name: &'static str, callers: usize, mut rates: Vec<f64>) -> Rate {
    rates.sort_by(f64::total_cmp);
    let at = |place: usize| rates.get(place).copied().unwrap_or(f64::NAN);
    let spread = (at(0), at(rates.len().saturating_sub(1)));
    Rate { name, callers, per_second: at(rates.len() / 2), spread }
}

/// The other node: its cluster port, with every key in its main cache.
async fn serve() -> anyhow::Result<(SocketAddr, Arc<Groups>)> {
    let groups = Arc::new(Groups::new(Arc::new(NoPeers), Grants::unneeded()));
    let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
    let loader = FnLoader::new("bench", move |_| {
        let value = value.clone();
        async move { Ok(Loaded::value(value)) }
    });
    groups.configure(vec![(Settings::new("bench", 64 << 20), Arc::new(loader))]);
    let view = View::alone("cache-0").map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    groups.adopt(Arc::new(view));
    let group = groups.get("bench").context("the group that was configured is not there")?;
    for key in keys() {
        let key = Key::new(key, 1_024)?;
        group.get(key, Origin::Client, Instant::now() + DEADLINE).await.context("a load failed")?;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = doors::cluster(Arc::clone(&groups), Arc::new(Alone));
    let limits = Limits {
        port: "cluster",
        max_connections: 16,
        max_streams: 1_024,
        max_age: None,
        spread: Duration::ZERO,
    };
    let end = End { close: CancellationToken::new(), abort: CancellationToken::new() };
    let served = listener::serve(
        Box::new(listener),
        router,
        limits,
        end,
        Outgoing::new(64 << 20),
        ConnectionMetrics::default(),
    );
    tokio::spawn(served);
    Ok((address, groups))
}

/// A node without memberships.
struct Alone;

impl Control for Alone {
    fn name(&self) -> &str {
        "cache-0"
    }

    fn pod_uid(&self) -> &str {
        ""
    }

    fn boot(&self) -> u64 {
        1
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
