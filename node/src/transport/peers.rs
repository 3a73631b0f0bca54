//! The way to other nodes: a few streams to each, opened when first used, and signs of life on every fetch.
//!
//! A frozen node must cost its peers milliseconds, not deadlines: who neither answers nor shows a sign of life counts as unreachable.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, FetchManyRequest, FetchRequest, Fetched, FetchedMany,
    KeysHeld, KeysRequest, PeekManyRequest, PeekRequest, Peeked, PeekedMany, PeerError, Peers, PurgeAck,
    PurgeRequest, StoreAck, StoreRequest,
};
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{self as wire, SignedSnapshot};
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::causes::causes;
use crate::metrics::PeerMetrics;
use crate::transport::dialing::{CONNECT_TIMEOUT, Dialer, uri};
use crate::transport::peers::breaker::Breaker;
use crate::transport::peers::exchange::Exchange;

mod breaker;
mod exchange;
mod fetch;
mod handover;
mod invalidation;
mod lane;
mod many;

/// Between pings, and until a ping unanswered closes the connection: without pings a dead node is a black hole.
const PING: Duration = Duration::from_secs(2);

/// What is left of a deadline is passed on less this, so that the answer is back in time.
const MARGIN: Duration = Duration::from_millis(5);

/// Calls at a time to one node: below the cluster port's own bound, so that none waits unseen inside a connection.
const CALLS_AT_ONCE: usize = 1000;

/// Purges, stores and bars at a time to one node. They have places of their own: slow fetches hold all of theirs.
const PURGES_AT_ONCE: usize = 256;

/// Processes that are known at one address: the present one, and the one before, whose calls still end.
const BOOTS: usize = 2;

/// Largest message from a peer: the largest value twice.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// How long a node is waited for that says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the answer or the first sign of life.
    pub first: Duration,
    /// After a sign of life, for the next one or the answer: they come every second.
    pub next: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { first: Duration::from_millis(150), next: Duration::from_millis(1500) }
    }
}

/// A node has shown a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The node's name.
    pub node: Arc<str>,
    /// The version it has adopted.
    pub version: Version,
}

/// What a member said of itself since the last snapshot.
#[derive(Clone, Debug)]
struct Hint {
    boot: u64,
    address: String,
}

/// The way to one process of a member's. Connections are made when they are first used, and again after they broke.
#[derive(Debug)]
struct Link {
    boot: u64,
    client: ClusterServiceClient<Channel>,
    /// Another connection, for values that would hold up others.
    bulk: ClusterServiceClient<Channel>,
    exchange: Exchange,
    breaker: Arc<Breaker>,
    places: Arc<Semaphore>,
    purges: Arc<Semaphore>,
}

/// Other nodes, over tonic.
#[derive(Debug)]
pub struct TonicPeers {
    name: Arc<str>,
    boot: u64,
    dialer: Dialer,
    patience: Patience,
    heard: mpsc::Sender<Heard>,
    metrics: PeerMetrics,
    /// By address. Held for look-ups only, never over a wait.
    links: Mutex<BTreeMap<String, Vec<Arc<Link>>>>,
    hints: Mutex<HashMap<String, Hint>>,
}

impl TonicPeers {
    /// The peers of the process `boot` of the node called `name`, reached by `dialer`. Versions they show are told to `heard`.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        boot: u64,
        dialer: Dialer,
        patience: Patience,
        heard: mpsc::Sender<Heard>,
        metrics: PeerMetrics,
    ) -> Self {
        let (links, hints) = (Mutex::default(), Mutex::default());
        TonicPeers { name, boot, dialer, patience, heard, metrics, links, hints }
    }

    /// A snapshot is in force: connections of members that left are dropped, and so is what members said of themselves before.
    pub fn members(&self, members: &[Member]) {
        self.hints.lock().clear();
        let addresses: HashSet<&str> = members.iter().map(|member| member.address.as_str()).collect();
        self.links.lock().retain(|address, _| addresses.contains(address.as_str()));
    }

    /// A member says who it is now; it counts until the next snapshot.
    pub fn hint(&self, name: &str, boot: u64, address: &str) {
        self.hints.lock().insert(name.to_owned(), Hint { boot, address: address.to_owned() });
    }

    /// The snapshot in force at a peer.
    ///
    /// # Errors
    /// If it cannot be reached before `until`.
    pub async fn snapshot(&self, peer: &Member, until: Instant) -> Result<Option<SignedSnapshot>, PeerError> {
        let peer = self.now(peer);
        let mut client = self.link(&peer).client.clone();
        let caller = Some(self.caller(&peer, Version::PROVISIONAL));
        let call = client.fetch_snapshot(wire::FetchSnapshotRequest { caller });
        let answer = ended(timeout_at(until, call).await);
        self.count("snapshot", &answer);
        Ok(answer?.into_inner().snapshot)
    }

    /// Tells a peer who this process is, and whether it drains.
    ///
    /// # Errors
    /// If it cannot be reached before `until`.
    pub async fn announce(
        &self,
        peer: &Member,
        version: Version,
        announce: wire::AnnounceRequest,
        until: Instant,
    ) -> Result<(), PeerError> {
        let peer = self.now(peer);
        let mut client = self.link(&peer).client.clone();
        let caller = Some(self.caller(&peer, version));
        let call = client.announce(wire::AnnounceRequest { caller, ..announce });
        let answer = ended(timeout_at(until, call).await);
        self.count("announce", &answer);
        answer.map(|_| ())
    }

    /// The member as it last described itself.
    fn now<'a>(&self, member: &'a Member) -> Cow<'a, Member> {
        let hints = self.hints.lock();
        match hints.get(&member.name) {
            Some(hint) => {
                Cow::Owned(Member { boot: hint.boot, address: hint.address.clone(), ..member.clone() })
            }
            None => Cow::Borrowed(member),
        }
    }

    fn link(&self, member: &Member) -> Arc<Link> {
        let mut links = self.links.lock();
        let known = links.get(&member.address).and_then(|boots| boots.iter().find(|l| l.boot == member.boot));
        if let Some(link) = known {
            return Arc::clone(link);
        }
        let link = Arc::new(Link::new(self.boot, member, &self.dialer, &self.metrics));
        let boots = links.entry(member.address.clone()).or_default();
        boots.insert(0, Arc::clone(&link));
        boots.truncate(BOOTS);
        link
    }

    fn caller(&self, peer: &Member, version: Version) -> wire::Caller {
        wire::Caller {
            node: self.name.to_string(),
            boot: self.boot,
            version: Some(convert::version_to_wire(version)),
            expected_boot: peer.boot,
            expected_node: peer.name.clone(),
        }
    }

    fn tell(&self, node: &str, version: Version) {
        // A full queue is fine: every later answer tells again.
        let _ = self.heard.try_send(Heard { node: Arc::from(node), version });
    }

    fn counted<T>(&self, call: &'static str, answer: Result<T, PeerError>) -> Result<T, PeerError> {
        self.count(call, &answer);
        answer
    }

    fn count<T>(&self, call: &'static str, answer: &Result<T, PeerError>) {
        let code = match answer {
            Ok(_) => "ok",
            Err(PeerError::Unreachable(_)) => "unreachable",
            Err(PeerError::Refused(_)) => "refused",
            Err(PeerError::DeadlineExceeded) => "deadline",
        };
        self.metrics.ended(call, code);
    }
}

impl Peers for TonicPeers {
    fn fetch(&self, peer: &Member, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        let peer = self.now(peer);
        let (link, caller) = (self.link(&peer), self.caller(&peer, request.version));
        Box::pin(async move { self.counted("fetch", self.fetch_from(&link, caller, request).await) })
    }

    fn purge(&self, peer: &Member, request: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("purge", self.purge_at(&peer, request).await) })
    }

    fn store(&self, peer: &Member, request: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("store", self.store_at(&peer, request).await) })
    }

    fn peek(&self, peer: &Member, request: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("peek", self.peek_at(&peer, request).await) })
    }

    fn beat(&self, peer: &Member, request: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("beat", self.beat_at(&peer, request).await) })
    }

    fn bar(&self, peer: &Member, request: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("bar", self.bar_at(&peer, request).await) })
    }

    fn fetch_many(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let answer = self.fetch_many_from(&peer, request).await;
            self.count("fetch_many", &answer);
            answer
        })
    }

    fn keys_of(&self, peer: &Member, request: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("keys_of", self.keys_at(&peer, request).await) })
    }

    fn peek_many(
        &self,
        peer: &Member,
        request: PeekManyRequest,
    ) -> BoxFuture<'_, Result<PeekedMany, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move { self.counted("peek_many", self.peek_many_at(&peer, request).await) })
    }
}

impl Link {
    fn new(me: u64, member: &Member, dialer: &Dialer, metrics: &PeerMetrics) -> Self {
        let client = connect(&member.address, dialer);
        let breaker = Arc::new(Breaker::new(me.rotate_left(32) ^ member.boot, metrics.clone()));
        Link {
            boot: member.boot,
            exchange: Exchange::new(&client, &breaker),
            client,
            bulk: connect(&member.address, dialer),
            breaker,
            places: Arc::new(Semaphore::new(CALLS_AT_ONCE)),
            purges: Arc::new(Semaphore::new(PURGES_AT_ONCE)),
        }
    }
}

/// A connection that is made when it is first used, and again after it broke.
fn connect(address: &str, dialer: &Dialer) -> ClusterServiceClient<Channel> {
    let (dialer, to) = (dialer.clone(), address.to_owned());
    let dial = move |_: http::Uri| {
        let connection = dialer.dial(&to);
        async move { connection.await.map(TokioIo::new) }
    };
    let channel = Endpoint::from(uri(address))
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(tower::service_fn(dial));
    ClusterServiceClient::new(channel)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES)
}

/// A place among the calls to one node: waiting for it is no silence of that node's.
async fn place(places: &Arc<Semaphore>, deadline: Instant) -> Result<OwnedSemaphorePermit, PeerError> {
    let place = timeout_at(deadline, Arc::clone(places).acquire_owned()).await;
    place.ok().and_then(Result::ok).ok_or(PeerError::DeadlineExceeded)
}

/// Waits for a step of a fetch: until patience is at an end, or the deadline.
async fn sign<T>(
    step: impl Future<Output = Result<T, Status>>,
    patience: Instant,
    hard: Instant,
) -> Result<T, PeerError> {
    tokio::select! {
        // The answer first: if this process itself was late, the answer may be there already.
        biased;
        answer = step => answer.map_err(|status| unanswered(&status)),
        // The step is dropped and with it the call; the peer sees that nobody waits.
        () = sleep_until(patience.min(hard)) => Err(if hard <= patience {
            PeerError::DeadlineExceeded
        } else {
            PeerError::Unreachable("no answer and no sign of life".into())
        }),
    }
}

fn ended<T>(
    answer: Result<Result<Response<T>, Status>, tokio::time::error::Elapsed>,
) -> Result<Response<T>, PeerError> {
    match answer {
        Ok(answer) => answer.map_err(|status| unanswered(&status)),
        Err(_) => Err(PeerError::DeadlineExceeded),
    }
}

/// What a status from a peer means. What a peer says of its own will carries no cause of the transport's.
fn unanswered(status: &Status) -> PeerError {
    if let Some(cause) = std::error::Error::source(status) {
        return PeerError::Unreachable(causes(cause).into());
    }
    match status.code() {
        Code::DeadlineExceeded => PeerError::DeadlineExceeded,
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => {
            PeerError::Refused(status.message().into())
        }
        code => PeerError::Unreachable(format!("{code:?}: {}", status.message()).into()),
    }
}
