//! The nodes a client knows: one connection to each address, handed out in turn.
//!
//! ```text
//! resolver ──addresses──> watch_addresses ──one task per connection──> keep_connected ──> ready list ──pick──> calls
//!     ^                        ^                                            ^                                  │
//!     └── every few seconds ───┴──────────── troubled <─────────────────────┴───────────── broken <────────────┘
//! ```
//!
//! Only what is connected is in the list, so that a call never waits for a dead address. An address that is resolved no more loses
//! its task, and with it its place; calls under way there end as they may.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Channel;

use crate::config::Builder;
use crate::dial::dial;
use crate::resolve::Resolve;

/// The pause before a lost or failed connection is tried again; doubled with each failure up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A node that comes back is used after this long at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The resolver is asked no more often than this, whatever breaks.
const RESOLVE_GAP: Duration = Duration::from_millis(250);

/// One connection that is up.
#[derive(Clone, Debug)]
pub(crate) struct Ready {
    /// The node's address.
    pub(crate) address: SocketAddr,
    /// Which of the connections to it.
    connection: usize,
    pub(crate) channel: Channel,
    broken: Arc<Notify>,
}

/// The nodes. Dropped, it closes every connection.
#[derive(Debug)]
pub(crate) struct Nodes {
    shared: Arc<Shared>,
    next: AtomicUsize,
    connect_timeout: Duration,
    _watching: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    ready: watch::Sender<Vec<Ready>>,
    /// How many connections there ought to be.
    wanted: AtomicUsize,
    /// Something broke: the addresses may be old.
    troubled: Notify,
    /// What was met last, for errors.
    trouble: Mutex<String>,
}

impl Nodes {
    pub(crate) fn start(config: &Builder, resolver: Arc<dyn Resolve>) -> Self {
        let shared = Arc::new(Shared {
            ready: watch::Sender::new(Vec::new()),
            wanted: AtomicUsize::new(usize::MAX),
            troubled: Notify::new(),
            trouble: Mutex::new("its addresses are not resolved yet".to_owned()),
        });
        let watching = tokio::spawn(watch_addresses(shared.clone(), resolver, config.clone()));
        Nodes {
            shared,
            next: AtomicUsize::new(0),
            connect_timeout: config.connect_timeout,
            _watching: AbortOnDropHandle::new(watching),
        }
    }

    /// The next node in turn, another than `but` if there is one. `None` if none is connected.
    fn pick(&self, but: Option<SocketAddr>) -> Option<Ready> {
        let ready = self.shared.ready.borrow();
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut in_turn = (0..ready.len()).map(|step| &ready[start.wrapping_add(step) % ready.len()]);
        let first = in_turn.clone().next()?;
        Some(in_turn.find(|node| Some(node.address) != but).unwrap_or(first).clone())
    }

    /// The same, waiting for a connection until the deadline, and no longer than connecting may take.
    pub(crate) async fn wait(&self, deadline: Instant, but: Option<SocketAddr>) -> Option<Ready> {
        if let Some(node) = self.pick(but) {
            return Some(node);
        }
        let patience = deadline.min(Instant::now() + self.connect_timeout);
        let mut ready_rx = self.shared.ready.subscribe();
        let some = timeout_at(patience, ready_rx.wait_for(|ready| !ready.is_empty())).await.is_ok();
        if some { self.pick(but) } else { None }
    }

    /// Waits until every address that is resolved is connected; false if one is not by the deadline.
    pub(crate) async fn wait_for_all(&self, deadline: Instant) -> bool {
        let mut ready_rx = self.shared.ready.subscribe();
        let all = |ready: &Vec<Ready>| ready.len() >= self.shared.wanted.load(Ordering::Relaxed);
        timeout_at(deadline, ready_rx.wait_for(all)).await.is_ok()
    }

    /// A call found the connection broken: it is made anew before it is used again.
    pub(crate) fn broken(&self, node: &Ready, reason: &str) {
        self.shared.note(format!("{}: {reason}", node.address));
        node.broken.notify_one();
    }

    /// What was met last.
    pub(crate) fn trouble(&self) -> String {
        self.shared.trouble.lock().clone()
    }

    /// The addresses that are connected, in order.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = self.shared.ready.borrow().iter().map(|node| node.address).collect();
        addresses.dedup();
        addresses
    }
}

impl Shared {
    fn note(&self, trouble: String) {
        tracing::debug!(trouble, "a cache node is out of reach");
        *self.trouble.lock() = trouble;
        self.troubled.notify_one();
    }
}

/// A place in the list of what is connected, left when dropped.
struct Place {
    shared: Arc<Shared>,
    at: (SocketAddr, usize),
}

impl Place {
    fn take(shared: Arc<Shared>, node: Ready) -> Self {
        let at = (node.address, node.connection);
        shared.ready.send_modify(|ready| {
            let after = ready.partition_point(|other| (other.address, other.connection) < at);
            ready.insert(after, node);
        });
        Place { shared, at }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared
            .ready
            .send_modify(|ready| ready.retain(|node| (node.address, node.connection) != self.at));
    }
}

/// Resolves again and again, and keeps one task for each connection there ought to be.
async fn watch_addresses(shared: Arc<Shared>, resolver: Arc<dyn Resolve>, config: Builder) {
    let mut connections: HashMap<(SocketAddr, usize), AbortOnDropHandle<()>> = HashMap::new();
    loop {
        match resolver.resolve().await {
            Ok(addresses) if addresses.is_empty() => {
                *shared.trouble.lock() = "its name has no address".to_owned();
            }
            Ok(addresses) => {
                connections.retain(|(address, _), _| addresses.contains(address));
                let distinct: HashSet<_> = addresses.iter().collect();
                shared.wanted.store(distinct.len() * config.connections_per_node, Ordering::Relaxed);
                for address in addresses {
                    for connection in 0..config.connections_per_node {
                        connections.entry((address, connection)).or_insert_with(|| {
                            let task = keep_connected(shared.clone(), address, connection, config.clone());
                            AbortOnDropHandle::new(tokio::spawn(task))
                        });
                    }
                }
            }
            Err(error) => *shared.trouble.lock() = error.to_string(),
        }
        sleep(RESOLVE_GAP.min(config.resolve_every)).await;
        // Either is a reason to look again; a notification that comes meanwhile is kept.
        let _ = timeout(config.resolve_every, shared.troubled.notified()).await;
    }
}

/// Connects, lists the connection, and starts again once a call finds it broken.
async fn keep_connected(shared: Arc<Shared>, address: SocketAddr, connection: usize, config: Builder) {
    let mut pause = FIRST_PAUSE;
    loop {
        match dial(&config, address).await {
            Ok(channel) => {
                let (broken, connected) = (Arc::new(Notify::new()), Instant::now());
                let node = Ready { address, connection, channel, broken: broken.clone() };
                let place = Place::take(shared.clone(), node);
                broken.notified().await;
                drop(place);
                if connected.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => shared.note(format!("{address}: {}", root_cause(&error))),
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The last error in the chain: "Connection refused" says more than "transport error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
