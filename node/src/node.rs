//! The node: builds, joins and stops everything. The only file that knows all adapters.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use groupcache_group::grants::beats;
use groupcache_group::groups::Groups;
use groupcache_process::admin::Admin;
use groupcache_process::build_info;
use groupcache_process::process_metrics::ProcessMetrics;
use groupcache_process::readiness::{Condition, Readiness};
use groupcache_process::shutdown::{Ending, Shutdown};
use groupcache_process::telemetry::LogFilter;
use groupcache_ring::State;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::control::NodeControl;
use crate::first_grants;
use crate::membership::file::SnapshotFile;
use crate::membership::{Membership, Outcome};
use crate::metrics::export::Exporter;
use crate::parts::{self, Parts};
use crate::transport::accepting::Acceptor;
use crate::transport::control::Control;
use crate::transport::doors;
use crate::transport::encrypted;
use crate::transport::listener::{self, End, Limits};
use crate::transport::secured;

/// Calls at a time on one client's connection.
const CLIENT_STREAMS: u32 = 128;

/// Calls at a time on one peer's connection: nodes bound themselves to less.
const PEER_STREAMS: u32 = 1024;

/// How long a port may take to close once its spread is over: the longest deadline, and a little.
const CLOSING: Duration = Duration::from_secs(32);

/// A node that serves.
#[derive(Debug)]
pub struct Node {
    /// Where applications call.
    pub data: SocketAddr,
    /// Where other nodes and the operator call.
    pub cluster: SocketAddr,
    /// Where probes and scrapers call.
    pub admin: SocketAddr,
    config: Config,
    shutdown: Shutdown,
    readiness: Readiness,
    accepting: Condition,
    control: Arc<NodeControl>,
    membership: Arc<Membership>,
    groups: Arc<Groups>,
    ports: Ports,
    /// Ended when the node is dropped.
    _background: JoinSet<()>,
}

/// The three ports, and how each is closed.
#[derive(Debug)]
struct Ports {
    data: (End, JoinHandle<()>),
    cluster: (End, JoinHandle<()>),
    admin: (CancellationToken, JoinHandle<()>),
}

impl Node {
    /// Starts a node. It serves when this returns, and is ready once it has a membership that contains it.
    ///
    /// # Errors
    /// If a port cannot be bound, or a fixed membership is refused.
    pub async fn start(config: Config, shutdown: Shutdown, log: Option<LogFilter>) -> anyhow::Result<Node> {
        let data = bind(config.data_address, "data").await?;
        let cluster = bind(config.cluster_address, "cluster").await?;
        let admin = bind(config.admin_address, "admin").await?;
        let addresses = (data.local_addr()?, cluster.local_addr()?, admin.local_addr()?);
        tracing::info!(name = config.name, memory = %config.memory, "starting");

        let parts = parts::build(&config, addresses.1)?;
        let readiness = Readiness::new();
        let accepting = readiness.condition("accepting", "starting");
        let member = readiness.condition("membership", "no snapshot has been applied yet");
        let granted = readiness
            .condition("grants", "no grants to serve copies yet: they come soon after the membership");
        let (doors, health) = doors::data(
            Arc::clone(&parts.groups),
            Arc::clone(&parts.control) as Arc<dyn Control>,
            &parts.incoming,
            &parts.access,
        )?;
        let ports = Ports {
            data: open(encrypted::acceptor(data, parts.shown.as_ref()), doors, data_limits(&config), &parts),
            cluster: open(
                secured::acceptor(cluster, parts.certificates.as_ref()),
                doors::cluster(Arc::clone(&parts.groups), Arc::clone(&parts.control) as Arc<dyn Control>),
                cluster_limits(&config),
                &parts,
            ),
            admin: serve_admin(admin, registry(&parts, &readiness), &readiness, log),
        };
        accepting.met();

        let mut background = JoinSet::new();
        background.spawn(doors::report(health, readiness.clone()));
        background.spawn(tend(member, Arc::clone(&parts.membership)));
        let (control, heard) = (Arc::clone(&parts.control), parts.heard);
        background.spawn(async move { control.catch_up_with(heard).await });
        let control = Arc::clone(&parts.control);
        background.spawn(async move { control.introduce().await });
        background.spawn(beats::keep_up(Arc::clone(&parts.groups)));
        background.spawn(first_grants::wait(granted, Arc::clone(&parts.groups)));
        first_snapshot(&config, &parts.membership, &mut background)?;
        parts::follow(&config, (parts.certificates, parts.shown, parts.access), &mut background);

        tracing::info!(data = %addresses.0, cluster = %addresses.1, admin = %addresses.2, "serving");
        Ok(Node {
            data: addresses.0,
            cluster: addresses.1,
            admin: addresses.2,
            config,
            shutdown,
            readiness,
            accepting,
            control: parts.control,
            membership: parts.membership,
            groups: parts.groups,
            ports,
            _background: background,
        })
    }

    /// Serves until the shutdown is asked for, then drains: not ready, still serving for the drain delay, then closing.
    pub async fn run(mut self) -> Ending {
        self.shutdown.draining().await;
        self.control.drain();
        self.accepting.unmet("draining");
        let ending = tokio::select! {
            ending = drain(&self.config, &self.control, &mut self.ports) => ending,
            // Whatever was under way is cut.
            () = self.shutdown.aborted() => Ending::Forced,
        };
        let how = if ending == Ending::Clean { "every call had ended" } else { "calls under way were cut" };
        self.kill().await;
        tracing::info!(how, "stopped");
        ending
    }

    /// Ends at once, as a crash would: connections are cut.
    pub async fn kill(self) {
        let Ports { data, cluster, admin } = self.ports;
        for (end, _) in [&data, &cluster] {
            end.abort.cancel();
            end.close.cancel();
        }
        admin.0.cancel();
        for port in [data.1, cluster.1, admin.1] {
            // One that was waited for already must not be waited for again; a panic in one has been told already.
            if !port.is_finished() {
                let _ = port.await;
            }
        }
    }

    /// Whether it is ready, and what is missing.
    #[must_use]
    pub fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// The membership in force.
    #[must_use]
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// The groups.
    #[must_use]
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }
}

/// The membership a node starts with: a fixed one, or the one it had before.
fn first_snapshot(
    config: &Config,
    membership: &Arc<Membership>,
    background: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    if let Some(fixed) = &config.fixed {
        if let Outcome::Refused(faults) = membership.offer(fixed.clone()) {
            anyhow::bail!("the membership or the configuration is faulty:\n  {}", faults.join("\n  "));
        }
        return Ok(());
    }
    // Both, not the first that is there: the newer of the two wins, and a push beats either.
    if let Some(folder) = &config.snapshot_dir {
        let kept = SnapshotFile::kept_in(folder);
        kept.offer_to(membership);
        background.spawn(kept.follow(membership.subscribe()));
    }
    if let Some(path) = &config.ledger {
        let ledger = SnapshotFile::mounted_at(path);
        ledger.offer_to(membership);
        background.spawn(ledger.offer_until_in_force(Arc::clone(membership)));
    }
    if membership.in_force().is_none() {
        tracing::info!("nothing to start with: waiting to be told the membership");
    }
    Ok(())
}

/// Tends a condition of readiness: it holds while there is a membership that contains this node, and by which it does not leave.
pub async fn tend(condition: Condition, membership: Arc<Membership>) {
    let mut in_force = membership.subscribe();
    loop {
        if let Some(now) = in_force.borrow_and_update().clone() {
            let version = now.view.version();
            match now.view.my_state() {
                Some(State::Joining | State::Active) => condition.met(),
                Some(State::Draining) => {
                    condition.unmet(format!("snapshot {version} has this node draining"));
                }
                None => condition.unmet(format!("snapshot {version} does not contain this node")),
            }
        }
        if in_force.changed().await.is_err() {
            return;
        }
    }
}

async fn drain(config: &Config, control: &NodeControl, ports: &mut Ports) -> Ending {
    let announced = control.announce();
    tracing::info!(seconds = config.drain_delay.as_secs(), "not ready any more, and serving on for a while");
    tokio::join!(announced, tokio::time::sleep(config.drain_delay));
    let Ports { data, cluster, admin } = ports;
    let mut ending = Ending::Clean;
    // Applications first: while they end, other nodes may still ask.
    for (end, port) in [data, cluster] {
        end.close.cancel();
        if timeout(config.drain_spread + CLOSING, &mut *port).await.is_err() {
            ending = Ending::Forced;
        }
    }
    admin.0.cancel();
    ending
}

fn registry(parts: &Parts, readiness: &Readiness) -> Registry {
    let mut registry = Registry::default();
    build_info::register(&mut registry, "node", env!("CARGO_PKG_VERSION"));
    registry.register_collector(Box::new(ProcessMetrics));
    parts.metrics.register(&mut registry);
    let (readiness, control) = (readiness.clone(), Arc::clone(&parts.control));
    registry.register_collector(Box::new(Exporter {
        groups: Arc::clone(&parts.groups),
        loaders: Arc::clone(&parts.loaders),
        room: parts.room.clone(),
        outgoing: parts.outgoing.clone(),
        incoming: parts.incoming.clone(),
        certificates: parts.certificates.clone(),
        shown: parts.shown.clone(),
        state: Box::new(move || (readiness.is_ready(), control.is_draining())),
    }));
    registry
}

fn serve_admin(
    listener: TcpListener,
    registry: Registry,
    readiness: &Readiness,
    log: Option<LogFilter>,
) -> (CancellationToken, JoinHandle<()>) {
    let mut admin = Admin::new(Arc::new(registry), readiness.clone());
    if let Some(log) = log {
        admin = admin.with_log_filter(log);
    }
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(admin.serve(listener, stop)))
}

fn open(
    acceptor: Box<dyn Acceptor>,
    router: axum::Router,
    limits: Limits,
    parts: &Parts,
) -> (End, JoinHandle<()>) {
    let end = End { close: CancellationToken::new(), abort: CancellationToken::new() };
    let served = listener::serve(
        acceptor,
        router,
        limits,
        end.clone(),
        parts.outgoing.clone(),
        parts.metrics.connections.clone(),
    );
    (end, tokio::spawn(served))
}

fn data_limits(config: &Config) -> Limits {
    Limits {
        port: "data",
        max_connections: config.max_connections,
        max_streams: CLIENT_STREAMS,
        max_age: Some(config.max_connection_age),
        spread: config.drain_spread,
    }
}

fn cluster_limits(config: &Config) -> Limits {
    Limits {
        port: "cluster",
        max_connections: config.max_connections,
        max_streams: PEER_STREAMS,
        max_age: None,
        spread: Duration::ZERO,
    }
}

async fn bind(address: SocketAddr, port: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("binding the {port} port to {address}"))
}
