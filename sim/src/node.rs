//! One process: its groups, and how it comes by memberships.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_group::clock::Clock;
use groupcache_group::grants::{Grants, beats};
use groupcache_group::group::Group;
use groupcache_group::groups::Groups;
use groupcache_group::view::View;
use groupcache_ring::{Snapshot, Version};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::network::{Call, Said};
use crate::peers::{Links, Ticket};
use crate::plan::GROUP;
use crate::shared::{Shared, name};
use crate::source::Source;

/// Versions heard of that wait to be looked at.
const HEARD: usize = 64;

/// How long a peer may take to hand over its snapshot.
const PULL: Duration = Duration::from_secs(1);

/// The pod's disk, which outlives the process: the snapshot in force.
pub type Disk = Arc<Mutex<Option<Arc<Snapshot>>>>;

/// A process that runs.
#[derive(Debug)]
pub struct Node {
    /// Its place.
    pub me: usize,
    /// Its pod.
    pub uid: String,
    /// Its groups.
    pub groups: Arc<Groups>,
    /// The clock it goes by.
    pub clock: Clock,
    /// The world around it.
    pub shared: Arc<Shared>,
    /// Fetches that it answers.
    pub serving: Mutex<BTreeMap<u64, AbortHandle>>,
    heard: mpsc::Sender<(usize, Version)>,
    disk: Disk,
}

impl Node {
    /// Begins. To be called inside the runtime that it is to run in.
    #[must_use]
    pub fn begin(shared: &Arc<Shared>, me: usize, uid: String, clock: Clock, disk: Disk) -> Arc<Self> {
        shared.judge.lock().reasons().process_begins(me);
        let (heard, hears) = mpsc::channel(HEARD);
        let grants = Grants::new(clock.clone());
        grants.set_bound(shared.plan.staleness());
        let links = Links::new(shared.clone(), me, clock.clone(), heard.clone());
        let groups = Arc::new(Groups::new(Arc::new(links), grants));
        groups.configure(vec![(shared.plan.settings(), Arc::new(Source::new(shared.clone(), me)))]);
        let serving = Mutex::default();
        let shared = shared.clone();
        let node = Arc::new(Node { me, uid, groups, clock, shared, serving, heard, disk });
        // K4: it begins with the view it had.
        let had = node.disk.lock().clone();
        if let Some(snapshot) = had {
            node.put_in_force(&snapshot);
        }
        tokio::spawn(beats::keep_up(node.groups.clone()));
        tokio::spawn(node.clone().catch_up_with(hears));
        node
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> Option<Arc<Group>> {
        self.groups.get(GROUP)
    }

    /// The version in force.
    #[must_use]
    pub fn version(&self) -> Version {
        self.groups.view().map(|view| view.version()).unwrap_or_default()
    }

    /// Takes a snapshot if it is newer than the one in force.
    pub fn adopt(&self, snapshot: &Arc<Snapshot>) {
        if snapshot.version() <= self.version() {
            return;
        }
        // On disk before anybody hears of it (K4).
        *self.disk.lock() = Some(snapshot.clone());
        self.put_in_force(snapshot);
        self.shared.note("adopts", self.me, snapshot.version().epoch, snapshot.version().sequence);
        self.shared.judge.lock().view_changed();
    }

    fn put_in_force(&self, snapshot: &Arc<Snapshot>) {
        let view = Arc::new(View::of_pod(name(self.me), &self.uid, snapshot.clone()));
        self.shared.judge.lock().reasons().view(self.shared.now(), self.me, view.clone());
        self.groups.adopt(view);
    }

    /// A peer has shown a version.
    pub fn hear(&self, peer: usize, version: Version) {
        if version > self.version() {
            let _ = self.heard.try_send((peer, version));
        }
    }

    async fn catch_up_with(self: Arc<Self>, mut hears: mpsc::Receiver<(usize, Version)>) {
        while let Some((peer, version)) = hears.recv().await {
            self.catch_up(peer, version, Instant::now() + PULL).await;
        }
    }

    /// Fetches the newer snapshot of a peer.
    pub async fn catch_up(&self, peer: usize, version: Version, until: Instant) {
        if version <= self.version() {
            return;
        }
        let mut ticket = Ticket::ask(&self.shared, self.me, peer, self.version(), Call::Pull);
        if let Ok(Some(Said::Snapshot(Some(snapshot)))) = timeout_at(until, ticket.answer()).await {
            self.adopt(&snapshot);
        }
    }
}
