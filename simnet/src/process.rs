//! One node: its real parts, joined as the node joins them, over the simulated wire and with a loader in this process.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use groupcache_group::clock::Clock;
use groupcache_group::grants::{Grants, beats};
use groupcache_group::groups::Groups;
use groupcache_group::loader::Loader;
use groupcache_group::peer::Peers;
use groupcache_node::access::Access;
use groupcache_node::control::NodeControl;
use groupcache_node::loader::Loaders;
use groupcache_node::loader::guard::Guard;
use groupcache_node::loader::room::Room;
use groupcache_node::membership::{Identity, Install, Membership};
use groupcache_node::metrics::Metrics;
use groupcache_node::transport::control::Control;
use groupcache_node::transport::doors;
use groupcache_node::transport::incoming::Incoming;
use groupcache_node::transport::listener::{self, End, Limits};
use groupcache_node::transport::outgoing::Outgoing;
use groupcache_node::transport::peers::{Patience, TonicPeers};
use groupcache_ring::State;
use groupcache_sim::plan::GROUP;
use groupcache_sim::shared::{Shared, name};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::machine::{Machine, Seen};
use crate::source::Source;
use crate::wire::{CLUSTER_PORT, DATA_PORT, Port, dialer};

/// Versions heard of that wait to be looked at, as at a node.
const HEARD: usize = 16;

/// Bytes for groups, and for what is on its way in or out: more than a run needs.
const BYTES: u64 = 64 << 20;

/// Connections and streams of a port: more than a run needs.
const MANY: usize = 1024;

/// Between two looks of the process at itself.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a node until it is dropped.
///
/// # Errors
/// If a port is open already.
pub async fn run(shared: Arc<Shared>, machine: Arc<Machine>) -> turmoil::Result {
    let (boot, disk) = machine.begins();
    let me = Identity { name: Arc::from(name(machine.place)), pod_uid: machine.uid(), boot };
    let metrics = Metrics::default();
    let (heard_by, heard) = mpsc::channel(HEARD);
    let peers = Arc::new(TonicPeers::new(
        Arc::clone(&me.name),
        boot,
        dialer(),
        Patience::default(),
        heard_by.clone(),
        metrics.peers.clone(),
    ));
    let grants = Grants::new(Clock::of_the_runtime());
    let groups = Arc::new(Groups::new(Arc::clone(&peers) as Arc<dyn Peers>, grants));
    let install = install(&groups, &peers, &shared, machine.place, &metrics);
    let address = format!("{}:{CLUSTER_PORT}", me.name);
    let membership = Arc::new(Membership::new(me, BYTES, metrics.snapshots.clone(), install));
    // None is made here: the loads are the simulation's own.
    let loaders = Arc::new(Loaders::new(Room::new(BYTES), metrics.loads.clone()));
    let control =
        Arc::new(NodeControl::new(Arc::clone(&membership), peers, heard_by, address, None, loaders));

    // K4: it begins with the membership it had.
    if let Some(kept) = disk {
        membership.offer(kept);
    }
    let serving = Arc::clone(&control) as Arc<dyn Control>;
    let (data, _) = doors::data(Arc::clone(&groups), serving, &Incoming::new(BYTES), &Access::open())?;
    let cluster = doors::cluster(Arc::clone(&groups), Arc::clone(&control) as Arc<dyn Control>);
    for (port, number, router) in [("data", DATA_PORT, data), ("cluster", CLUSTER_PORT, cluster)] {
        let limits = Limits {
            port,
            max_connections: MANY,
            max_streams: MANY as u32,
            max_age: None,
            spread: Duration::ZERO,
        };
        let end = End { close: CancellationToken::new(), abort: CancellationToken::new() };
        let listener = Box::new(Port::open(number).await?);
        let outgoing = Outgoing::new(BYTES);
        tokio::spawn(listener::serve(listener, router, limits, end, outgoing, metrics.connections.clone()));
    }
    let catching_up = Arc::clone(&control);
    tokio::spawn(async move { catching_up.catch_up_with(heard).await });
    tokio::spawn(async move { control.introduce().await });
    tokio::spawn(beats::keep_up(Arc::clone(&groups)));
    tokio::spawn(keep(shared, Arc::clone(&machine), membership));
    loop {
        machine.show(look(&groups));
        sleep(LOOK).await;
    }
}

/// As the node installs a snapshot; the loader's address is not used, for the source is in this process.
fn install(
    groups: &Arc<Groups>,
    peers: &Arc<TonicPeers>,
    shared: &Arc<Shared>,
    place: usize,
    metrics: &Metrics,
) -> Install {
    let (groups, peers, loads) = (Arc::clone(groups), Arc::clone(peers), metrics.loads.clone());
    let shared = Arc::clone(shared);
    let loader: OnceLock<Arc<dyn Loader>> = OnceLock::new();
    Box::new(move |checked, view| {
        groups.grants().set_bound(checked.staleness_bound);
        let configured = checked.groups.into_iter().map(|(group, settings)| {
            let make = || {
                let source = Box::new(Source::new(Arc::clone(&shared), place));
                Arc::new(Guard::new(source, &group.name, &settings, loads.clone())) as Arc<dyn Loader>
            };
            let loader = Arc::clone(loader.get_or_init(make));
            (group, loader)
        });
        groups.configure(configured.collect());
        peers.members(view.snapshot().members());
        groups.adopt(view);
    })
}

/// Puts every snapshot that comes into force on the disk, and tells the judge.
async fn keep(shared: Arc<Shared>, machine: Arc<Machine>, membership: Arc<Membership>) {
    let mut in_force = membership.subscribe();
    loop {
        let now = in_force.borrow_and_update().clone();
        if let Some(now) = now {
            machine.keep(now.signed.clone());
            let version = now.view.version();
            shared.note("adopts", machine.place, version.epoch, version.sequence);
            shared.judge.lock().view_changed();
        }
        if in_force.changed().await.is_err() {
            return;
        }
    }
}

fn look(groups: &Groups) -> Seen {
    let view = groups.view();
    let state = view.as_ref().and_then(|view| view.my_state());
    Seen {
        version: view.map(|view| view.version()).unwrap_or_default(),
        member: matches!(state, Some(State::Active | State::Draining)),
        serves: groups.grants().serves_now(),
        flights: groups.get(GROUP).map_or(0, |group| group.sizes().flights),
    }
}
