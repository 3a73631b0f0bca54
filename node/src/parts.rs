//! What a node is built of, before anything serves.

use std::net::SocketAddr;
use std::sync::Arc;

use groupcache_group::grants::Grants;
use groupcache_group::groups::Groups;
use groupcache_group::peer::Peers;
use groupcache_tls::keeper::Keeper;
use groupcache_tls::shown::Shown;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::access::Access;
use crate::certificates::{certificates, shown};
use crate::clock;
use crate::config::Config;
use crate::control::NodeControl;
use crate::install;
use crate::loader::Loaders;
use crate::loader::room::Room;
use crate::membership::{Identity, Membership};
use crate::metrics::Metrics;
use crate::transport::incoming::Incoming;
use crate::transport::outgoing::Outgoing;
use crate::transport::peers::{Heard, TonicPeers};
use crate::transport::secured;

/// Versions heard of that wait to be looked at; one more is told again by the next call.
const HEARD: usize = 16;

/// What is built before anything serves.
pub(crate) struct Parts {
    pub(crate) groups: Arc<Groups>,
    pub(crate) membership: Arc<Membership>,
    pub(crate) control: Arc<NodeControl>,
    pub(crate) heard: mpsc::Receiver<Heard>,
    pub(crate) loaders: Arc<Loaders>,
    pub(crate) room: Room,
    pub(crate) outgoing: Outgoing,
    pub(crate) incoming: Incoming,
    pub(crate) certificates: Option<Keeper>,
    pub(crate) shown: Option<Keeper<Shown>>,
    pub(crate) access: Access,
    pub(crate) metrics: Metrics,
}

/// Builds them.
///
/// # Errors
/// If certificates or tokens cannot be used.
pub(crate) fn build(config: &Config, cluster: SocketAddr) -> anyhow::Result<Parts> {
    let metrics = Metrics::default();
    let (certificates, shown) = (certificates(config)?, shown(config)?);
    let access = match &config.token_dir {
        Some(folder) => Access::asking(folder, metrics.access.clone())?,
        None => Access::open(),
    };
    let me = Identity::new(&config.name, &config.pod_uid);
    let (heard_by, heard) = mpsc::channel(HEARD);
    let peers = Arc::new(TonicPeers::new(
        Arc::clone(&me.name),
        me.boot,
        secured::dialer(certificates.as_ref()),
        config.patience,
        heard_by.clone(),
        metrics.peers.clone(),
    ));
    let grants = Grants::new(clock::boot_time());
    let groups = Arc::new(Groups::new(Arc::clone(&peers) as Arc<dyn Peers>, grants));
    // A third for each way, so that clients that read or send slowly hold up no load.
    let third = config.memory.in_flight / 3;
    let (room, outgoing, incoming) = (Room::new(third), Outgoing::new(third), Incoming::new(third));
    let loaders = Arc::new(Loaders::new(room.clone(), metrics.loads.clone()));
    let install =
        install::with(Arc::clone(&groups), Arc::clone(&loaders), Arc::clone(&peers), access.clone());
    // A fixed membership is this node's own: nobody signs it, and nobody has a key to.
    let signers = certificates.clone().filter(|_| config.fixed.is_none());
    let membership = Membership::new(me, config.memory.groups, metrics.snapshots.clone(), install);
    let membership = Arc::new(membership.signed_for(signers));
    let address = config.advertise.clone().unwrap_or_else(|| cluster.to_string());
    let control = Arc::new(NodeControl::new(
        Arc::clone(&membership),
        peers,
        heard_by,
        address,
        certificates.clone(),
        Arc::clone(&loaders),
    ));
    Ok(Parts {
        groups,
        membership,
        control,
        heard,
        loaders,
        room,
        outgoing,
        incoming,
        certificates,
        shown,
        access,
        metrics,
    })
}

/// Reads again, for as long as the tasks live, what lies in files that others change.
pub(crate) fn follow(
    config: &Config,
    (certificates, shown, access): (Option<Keeper>, Option<Keeper<Shown>>, Access),
    background: &mut JoinSet<()>,
) {
    if let (Some(folder), Some(keeper)) = (&config.tls_dir, certificates) {
        background.spawn(keeper.follow(folder.clone()));
    }
    if let (Some(folder), Some(keeper)) = (&config.data_tls_dir, shown) {
        background.spawn(keeper.follow(folder.clone()));
    }
    if let Some(folder) = &config.token_dir {
        background.spawn(access.follow(folder.clone()));
    }
}
