//! The calls an application makes, each with its deadline and at most one retry at another node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use groupcache_proto::cache;
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use crate::config::{Builder, MAX_ATTEMPTS};
use crate::error::{ConnectError, Failure, GetError, RemoveError, is_of_the_loader};
use crate::nodes::{Nodes, root_cause};
use crate::resolve::{Dns, Resolve};
use crate::target::Target;
use crate::throttle::Throttle;
use crate::token::Token;

/// Longest answer that is read, in bytes: eight values of the largest size a group can allow.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// A server that sees the deadline first says CANCELLED; so near to ours that is what it means.
const DEADLINE_SLACK: Duration = Duration::from_millis(20);

/// A client of one cluster. Cheap to clone; clones share the connections.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    nodes: Nodes,
    deadline: Duration,
    change_deadline: Duration,
    throttle: Throttle,
    token: Option<Token>,
    attempts: AtomicU64,
    failed: AtomicU64,
    retries: AtomicU64,
}

/// Where a node found an answer.
pub use groupcache_proto::cache::Source;

/// The answer for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The value, possibly empty; `None`: there is no such key.
    pub bytes: Option<Bytes>,
    /// Where the node that was asked found it.
    pub source: Source,
    /// How long ago its load started.
    pub age: Duration,
    /// For how long it may still be used; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// The source's own version of it, if its loader states one.
    pub source_version: Option<u64>,
}

/// A value with what is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// The value; may be empty.
    pub bytes: Bytes,
    /// Where the node that was asked found it.
    pub source: Source,
    /// How long ago its load started.
    pub age: Duration,
    /// For how long it may still be used; `None`: it does not expire.
    pub ttl: Option<Duration>,
}

/// How a value is to be stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Storing {
    /// For how long it may be used, if that is shorter than the group's ttl; `None`: the group's.
    pub ttl: Option<Duration>,
    /// The source's own version of it.
    pub source_version: Option<u64>,
}

/// What became of single attempts, those that a retry made good included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Calls sent to a node.
    pub sent: u64,
    /// Those of them that failed, for whatever reason.
    pub failed: u64,
    /// Those that were sent because an earlier one of the same call had failed.
    pub retries: u64,
}

// Here, where a client is made: the settings need not know what is made of them.
impl Builder {
    /// Resolves `addresses` (`dns:///host:port`, `https://host:port` or `host:port`, several divided by commas) and waits for the first connection.
    ///
    /// # Errors
    /// If an address is malformed, or if no node is connected when the deadline passes.
    pub async fn connect(self, addresses: &str) -> Result<Client, ConnectError> {
        let targets: Vec<Target> =
            addresses.split(',').map(|address| address.trim().parse()).collect::<Result<_, _>>()?;
        self.for_targets(&targets)?.connect_resolved(Dns::new(targets)).await
    }

    /// The same, with the addresses that `resolver` names.
    ///
    /// # Errors
    /// If no node is connected when the deadline passes, or TLS is asked for and no name for the nodes.
    pub async fn connect_resolved(mut self, resolver: impl Resolve) -> Result<Client, ConnectError> {
        self.tls = self.tls.map(|tls| tls.named([])).transpose()?;
        let nodes = Nodes::start(&self, Arc::new(resolver));
        let deadline = tokio::time::Instant::now() + self.deadline;
        match nodes.wait(deadline, None).await {
            Some(_) => Ok(Client::new(nodes, &self)),
            None => Err(ConnectError::NoNode(nodes.trouble())),
        }
    }
}

impl Client {
    /// Connects with the default settings; see [`Builder::connect`].
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect(addresses: &str) -> Result<Client, ConnectError> {
        Client::builder().connect(addresses).await
    }

    /// The settings, to be changed before connecting.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(nodes: Nodes, config: &Builder) -> Self {
        let inner = Inner {
            nodes,
            deadline: config.deadline,
            change_deadline: config.change_deadline,
            throttle: Throttle::default(),
            token: config.token.clone(),
            attempts: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        };
        Client { inner: Arc::new(inner) }
    }

    /// The value of one key, loaded if no node holds it; `None`: there is no such key.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(&self, group: &str, key: impl Into<Bytes>) -> Result<Option<Value>, GetError> {
        self.answer(group, key).await.map(Answer::into_value)
    }

    /// The same with all that is known of the answer, "no such key" included.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn answer(&self, group: &str, key: impl Into<Bytes>) -> Result<Answer, GetError> {
        let request =
            cache::GetRequest { group: group.to_owned(), key: key.into(), fill_token_wanted: false };
        let call = |mut client: Service, request| async move { client.get(request).await };
        Answer::from_wire(self.call(self.inner.deadline, request, call).await?)
    }

    /// The values of several keys of one group, at most 1024, one result per key in the order asked.
    ///
    /// # Errors
    /// If the whole call failed; what failed for one key only stands in its result.
    pub async fn get_many(
        &self,
        group: &str,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Result<Option<Value>, GetError>>, GetError> {
        let answers = self.answer_many(group, keys).await?;
        Ok(answers.into_iter().map(|answer| answer.map(Answer::into_value)).collect())
    }

    /// The same with all that is known of each answer, "no such key" included.
    ///
    /// # Errors
    /// As [`Client::get_many`].
    pub async fn answer_many(
        &self,
        group: &str,
        keys: Vec<Bytes>,
    ) -> Result<Vec<Result<Answer, GetError>>, GetError> {
        let asked = keys.len();
        let request = cache::GetManyRequest { group: group.to_owned(), keys };
        let call = |mut client: Service, request| async move { client.get_many(request).await };
        let results = self.call(self.inner.deadline, request, call).await?.results;
        if results.len() != asked {
            return Err(garbled(&format!("{asked} keys were asked, {} answered", results.len())));
        }
        Ok(results.into_iter().map(key_result).collect())
    }

    /// Purges one key from every node. After success every Get answers what the loader says from now on.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove(&self, group: &str, key: impl Into<Bytes>) -> Result<(), RemoveError> {
        self.remove_versioned(group, key, None).await
    }

    /// The same; what is loaded with a lower version of the source than this is not kept.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove_versioned(
        &self,
        group: &str,
        key: impl Into<Bytes>,
        source_version: Option<u64>,
    ) -> Result<(), RemoveError> {
        let request = cache::RemoveRequest { group: group.to_owned(), key: key.into(), source_version };
        let call = |mut client: Service, request| async move { client.remove(request).await };
        self.call(self.inner.change_deadline, request, call).await?;
        Ok(())
    }

    /// Purges several keys of one group, at most 1024, from every node.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn remove_many(&self, group: &str, keys: Vec<Bytes>) -> Result<(), RemoveError> {
        let request = cache::RemoveManyRequest { group: group.to_owned(), keys };
        let call = |mut client: Service, request| async move { client.remove_many(request).await };
        self.call(self.inner.change_deadline, request, call).await?;
        Ok(())
    }

    /// Stores a value in the cache in place of what any node holds. The source stays the truth: change it first.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn set(
        &self,
        group: &str,
        key: impl Into<Bytes>,
        value: impl Into<Bytes>,
        storing: Storing,
    ) -> Result<(), RemoveError> {
        let Storing { ttl, source_version } = storing;
        let ttl_ms = ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
        let (key, value) = (key.into(), value.into());
        let request = cache::SetRequest { group: group.to_owned(), key, value, ttl_ms, source_version };
        let call = |mut client: Service, request| async move { client.set(request).await };
        self.call(self.inner.change_deadline, request, call).await?;
        Ok(())
    }

    /// Purges every key of a group from every node.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn flush(&self, group: &str) -> Result<(), RemoveError> {
        let request = cache::FlushRequest { group: group.to_owned() };
        let call = |mut client: Service, request| async move { client.flush(request).await };
        self.call(self.inner.change_deadline, request, call).await?;
        Ok(())
    }

    /// What became of the attempts so far.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        Attempts {
            sent: self.inner.attempts.load(Ordering::Relaxed),
            failed: self.inner.failed.load(Ordering::Relaxed),
            retries: self.inner.retries.load(Ordering::Relaxed),
        }
    }

    /// Waits until every address behind the name is connected; false if one is not after `patience`.
    pub async fn wait_for_all(&self, patience: Duration) -> bool {
        self.inner.nodes.wait_for_all(Instant::now() + patience).await
    }

    /// The addresses of the nodes that are connected at the moment.
    #[must_use]
    pub fn addresses(&self) -> Vec<std::net::SocketAddr> {
        self.inner.nodes.addresses()
    }

    /// Sends the request to the next node, and once more to another if that one is unavailable.
    async fn call<Q, A, F, R>(&self, patience: Duration, request: Q, once: F) -> Result<A, Failure>
    where
        Q: Clone,
        F: Fn(Service, Request<Q>) -> R,
        R: Future<Output = Result<Response<A>, Status>>,
    {
        let inner = &self.inner;
        let deadline = Instant::now() + patience;
        let (mut tried, mut attempt) = (None, 1);
        loop {
            let Some(node) = inner.nodes.wait(deadline, tried).await else {
                return Err(inner.no_node(deadline));
            };
            inner.attempts.fetch_add(1, Ordering::Relaxed);
            let mut request = Request::new(request.clone());
            if let Some(token) = &inner.token {
                token.put_on(&mut request);
            }
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let client =
                CacheServiceClient::new(node.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
            let failure = match timeout_at(deadline, once(client, request)).await {
                Ok(Ok(answer)) => {
                    inner.throttle.succeeded();
                    return Ok(answer.into_inner());
                }
                Ok(Err(status)) => judge(status, deadline),
                Err(_) => Failure::Deadline,
            };
            inner.failed.fetch_add(1, Ordering::Relaxed);
            if let Failure::Lost(reason) = &failure {
                inner.nodes.broken(&node, reason);
            }
            if !failure.is_unavailable() || !inner.throttle.failed() || attempt == MAX_ATTEMPTS {
                return Err(failure);
            }
            inner.retries.fetch_add(1, Ordering::Relaxed);
            tried = Some(node.address);
            attempt += 1;
        }
    }
}

type Service = CacheServiceClient<Channel>;

impl Inner {
    fn no_node(&self, deadline: Instant) -> Failure {
        if Instant::now() >= deadline { Failure::Deadline } else { Failure::Lost(self.nodes.trouble()) }
    }
}

/// A status that a node sent has no source; one that was made here, of a broken connection, has.
fn judge(status: Status, deadline: Instant) -> Failure {
    if status.code() == Code::Cancelled && Instant::now() + DEADLINE_SLACK >= deadline {
        return Failure::Deadline;
    }
    match std::error::Error::source(&status) {
        Some(source) => Failure::Lost(root_cause(source)),
        // Neither the caller nor a node cancels: the connection ended under the call.
        None if status.code() == Code::Cancelled && !is_of_the_loader(&status) => {
            Failure::Lost(format!("the call was cut off: {}", status.message()))
        }
        None => Failure::Status(status),
    }
}

impl Answer {
    fn from_wire(wire: cache::GetResponse) -> Result<Self, GetError> {
        use cache::get_response::Outcome;
        let source = wire.source();
        let bytes = match wire.outcome {
            Some(Outcome::Value(value)) => Some(value),
            Some(Outcome::NotFound(_)) => None,
            Some(Outcome::FillToken(_)) => return Err(garbled("a fill token came that nobody asked for")),
            None => return Err(garbled("the answer is empty")),
        };
        Ok(Answer {
            bytes,
            source,
            age: Duration::from_millis(wire.age_ms),
            ttl: wire.ttl_remaining_ms.map(Duration::from_millis),
            source_version: wire.source_version,
        })
    }

    fn into_value(self) -> Option<Value> {
        let Answer { bytes, source, age, ttl, .. } = self;
        bytes.map(|bytes| Value { bytes, source, age, ttl })
    }
}

fn key_result(wire: cache::KeyResult) -> Result<Answer, GetError> {
    use cache::key_result::Result as Wire;
    match wire.result {
        Some(Wire::Response(response)) => Answer::from_wire(response),
        Some(Wire::Failure(failure)) => {
            Err(GetError::from_code(Code::from_i32(failure.code), failure.message))
        }
        None => Err(garbled("the answer for a key is empty")),
    }
}

fn garbled(what: &str) -> GetError {
    GetError::Failed { code: Code::Internal, message: format!("the node's answer makes no sense: {what}") }
}
