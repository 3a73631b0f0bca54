//! A light node: it adopts, acknowledges and drains as a real one, but keeps no values and calls no other node.
//!
//! Each node of a ring holds a connection to each other one, and all ends of all of them are files of this process: rings beyond
//! some dozens of nodes do not fit. The operator cannot tell the two kinds apart; it sees the same port, certificate and answers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use groupcache_group::grants::Grants;
use groupcache_group::groups::Groups;
use groupcache_group::peer::Peers;
use groupcache_node::certificates::certificates;
use groupcache_node::config::Config;
use groupcache_node::control::NodeControl;
use groupcache_node::loader::Loaders;
use groupcache_node::loader::room::Room;
use groupcache_node::membership::{Identity, Membership};
use groupcache_node::metrics::Metrics;
use groupcache_node::node;
use groupcache_node::transport::control::Control;
use groupcache_node::transport::listener::{self, End, Limits};
use groupcache_node::transport::outgoing::Outgoing;
use groupcache_node::transport::peers::TonicPeers;
use groupcache_node::transport::{doors, secured};
use groupcache_process::readiness::Readiness;
use groupcache_process::shutdown::Shutdown;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Bytes of answers on their way; there are none.
const ANSWERS: u64 = 1 << 20;

/// A light node that serves its cluster port.
pub(crate) struct Light {
    readiness: Readiness,
    membership: Arc<Membership>,
    control: Arc<NodeControl>,
    shutdown: Shutdown,
    drain_delay: Duration,
    end: End,
    port: JoinHandle<()>,
}

impl Light {
    /// Serves from now on, and is ready once a membership contains it.
    ///
    /// # Errors
    /// When the port cannot be bound, or the certificates cannot be used.
    pub(crate) async fn start(config: &Config, shutdown: Shutdown) -> Result<Self> {
        let listener = TcpListener::bind(config.cluster_address).await?;
        let certificates = certificates(config)?;
        let metrics = Metrics::default();
        let me = Identity::new(&config.name, &config.pod_uid);
        // Nobody reads what is heard: a light node hears of memberships by the operator alone.
        let (heard, _) = mpsc::channel(1);
        let dialer = secured::dialer(certificates.as_ref());
        let peers = Arc::new(TonicPeers::new(
            Arc::clone(&me.name),
            me.boot,
            dialer,
            config.patience,
            heard.clone(),
            metrics.peers.clone(),
        ));
        let install = Box::new(|_, _| {});
        let membership = Membership::new(me, config.memory.groups, metrics.snapshots.clone(), install)
            .signed_for(certificates.clone());
        let membership = Arc::new(membership);
        let groups = Arc::new(Groups::new(Arc::clone(&peers) as Arc<dyn Peers>, Grants::unneeded()));
        let loaders = Arc::new(Loaders::new(Room::new(ANSWERS), metrics.loads.clone()));
        let address = config.cluster_address.to_string();
        let control =
            NodeControl::new(Arc::clone(&membership), peers, heard, address, certificates.clone(), loaders);
        let control = Arc::new(control);
        let end = End { close: CancellationToken::new(), abort: CancellationToken::new() };
        let served = listener::serve(
            secured::acceptor(listener, certificates.as_ref()),
            doors::cluster(groups, Arc::clone(&control) as Arc<dyn Control>),
            limits(config),
            end.clone(),
            Outgoing::new(ANSWERS),
            metrics.connections.clone(),
        );
        let (port, readiness) = (tokio::spawn(served), Readiness::new());
        Ok(Self { readiness, membership, control, shutdown, drain_delay: config.drain_delay, end, port })
    }

    /// Whether it is ready.
    pub(crate) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Serves until it is to end, and drains.
    pub(crate) async fn run(self) {
        let member = self.readiness.condition("membership", "no snapshot has been applied yet");
        tokio::select! {
            // What it no longer tends does not hold.
            () = node::tend(member, self.membership) => {}
            () = self.shutdown.draining() => {}
        }
        self.control.drain();
        tokio::select! {
            () = sleep(self.drain_delay) => {}
            () = self.shutdown.aborted() => {}
        }
        self.end.close.cancel();
        self.end.abort.cancel();
        let _ = self.port.await;
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        port: "cluster",
        max_connections: config.max_connections,
        max_streams: 64,
        max_age: None,
        spread: Duration::ZERO,
    }
}
