//! What a node is started with: typed, with units; [`crate::args`] makes it, or whoever starts nodes itself.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use groupcache_proto::cluster::SignedSnapshot;

use crate::memory::Memory;
use crate::transport::peers::Patience;

/// Why a node drains this long, unless told: clients look names up again within 30 s.
pub const DEFAULT_DRAIN_DELAY: Duration = Duration::from_secs(35);

/// How old a client's connection may get, unless told.
pub const DEFAULT_MAX_CONNECTION_AGE: Duration = Duration::from_secs(600);

/// Over how long the ends of clients' connections are spread when the node stops.
pub const DEFAULT_SPREAD: Duration = Duration::from_secs(5);

/// Clients' connections at a time, unless told.
pub const DEFAULT_MAX_CONNECTIONS: usize = 4096;

/// Everything a node is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// The member's name: the pod's.
    pub name: String,
    /// The pod's uid; empty outside Kubernetes.
    pub pod_uid: String,
    /// Where applications call.
    pub data_address: SocketAddr,
    /// Where other nodes and the operator call.
    pub cluster_address: SocketAddr,
    /// Where probes and scrapers call.
    pub admin_address: SocketAddr,
    /// Host and port under which other nodes reach the cluster port; `None`: as bound.
    pub advertise: Option<String>,
    /// Where the newest snapshot is kept; `None`: nowhere.
    pub snapshot_dir: Option<PathBuf>,
    /// Where somebody else puts a snapshot to start with; `None`: nowhere.
    pub ledger: Option<PathBuf>,
    /// A membership that nobody pushes.
    pub fixed: Option<SignedSnapshot>,
    /// What there is of memory.
    pub memory: Memory,
    /// How long the node goes on serving after it was asked to stop.
    pub drain_delay: Duration,
    /// Over how long the ends of clients' connections are spread then.
    pub drain_spread: Duration,
    /// How old a client's connection may get.
    pub max_connection_age: Duration,
    /// Clients' connections at a time.
    pub max_connections: usize,
    /// Where the certificates of the cluster port are; `None`: it is open to everybody.
    pub tls_dir: Option<PathBuf>,
    /// Where the data port's certificate is; `None`: it speaks no TLS.
    pub data_tls_dir: Option<PathBuf>,
    /// Where the tokens of the data port's callers are; `None`: nobody is asked for one.
    pub token_dir: Option<PathBuf>,
    /// How long another node is waited for that says nothing.
    pub patience: Patience,
}

impl Config {
    /// A node of that name on free ports of the loopback address, for tests and trials.
    #[must_use]
    pub fn local(name: &str) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Config {
            name: name.to_owned(),
            pod_uid: String::new(),
            data_address: free,
            cluster_address: free,
            admin_address: free,
            advertise: None,
            snapshot_dir: None,
            ledger: None,
            fixed: None,
            memory: Memory::detect(Some(1 << 30), crate::memory::DEFAULT_GROUPS_PERCENT),
            drain_delay: Duration::ZERO,
            drain_spread: Duration::ZERO,
            max_connection_age: DEFAULT_MAX_CONNECTION_AGE,
            max_connections: DEFAULT_MAX_CONNECTIONS,
            tls_dir: None,
            data_tls_dir: None,
            token_dir: None,
            patience: Patience::default(),
        }
    }
}
