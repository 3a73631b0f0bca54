//! All groups of a node, by name and alias, changed while they serve.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use std::time::Duration;

use arc_swap::ArcSwap;
use groupcache_ring::Version;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::grants::Grants;
use crate::group::{Answer, Group, Origin, Settings};
use crate::loader::Loader;
use crate::peer::{
    BarAck, BarRequest, BeatReply, Beaten, KeysHeld, KeysRequest, PeekManyRequest, PeekedMany, Peers,
    PurgeAck, PurgeRequest,
};
use crate::simulation::watch;
use crate::value::Entry;
use crate::view::View;

/// The groups of one node.
pub struct Groups {
    peers: Arc<dyn Peers>,
    grants: Arc<Grants>,
    adopted: watch::Sender<Version>,
    present: ArcSwap<Present>,
    /// Held by who changes the groups or their view.
    change: Mutex<()>,
}

/// The groups of the moment.
#[derive(Default)]
struct Present {
    /// In order of names.
    all: BTreeMap<Arc<str>, Arc<Group>>,
    /// Names and aliases; a name goes before an alias.
    known: HashMap<String, Arc<Group>>,
    view: Option<Arc<View>>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").field("names", &self.present.load().all.keys()).finish_non_exhaustive()
    }
}

impl Groups {
    /// No group yet; they will reach other nodes through `peers`, and serve copies while `grants` last: see [`crate::grants::beats::keep_up`].
    #[must_use]
    pub fn new(peers: Arc<dyn Peers>, grants: Arc<Grants>) -> Self {
        let adopted = watch::Sender::new(Version::PROVISIONAL);
        Groups { peers, grants, adopted, present: ArcSwap::default(), change: Mutex::new(()) }
    }

    /// This node's grants.
    #[must_use]
    pub fn grants(&self) -> &Arc<Grants> {
        &self.grants
    }

    /// The way to the other nodes.
    #[must_use]
    pub fn peers(&self) -> &Arc<dyn Peers> {
        &self.peers
    }

    /// Follows the version in force.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Version> {
        self.adopted.subscribe()
    }

    /// The group of that name or alias.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Group>> {
        self.present.load().known.get(name).cloned()
    }

    /// A group's answer if it is here, as [`Group::cached`]: the shortest way, which does not even count a reference.
    #[must_use]
    pub fn cached(&self, name: &str, key: &[u8], origin: Origin) -> Option<Answer> {
        self.present.load().known.get(name)?.cached(key, origin)
    }

    /// Every group, in order of names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Group>> {
        self.present.load().all.values().cloned().collect()
    }

    /// Makes the groups be these: new ones are made, those that stay keep what they hold (see [`Group::configure`]), others are dropped.
    pub fn configure(&self, groups: Vec<(Settings, Arc<dyn Loader>)>) {
        let _change = self.change.lock();
        let former = self.present.load_full();
        let mut present = Present { view: former.view.clone(), ..Present::default() };
        for (settings, loader) in groups {
            let name = settings.name.clone();
            let group = if let Some(group) = former.all.get(&name) {
                group.configure(settings, loader);
                group.clone()
            } else {
                let group = Group::new(settings, loader, self.peers.clone(), self.grants.clone());
                if let Some(view) = &present.view {
                    group.adopt(view.clone());
                }
                group
            };
            present.all.insert(name, group);
        }
        for group in present.all.values() {
            for alias in &group.settings().aliases {
                present.known.insert(alias.clone(), group.clone());
            }
        }
        for (name, group) in &present.all {
            present.known.insert(name.to_string(), group.clone());
        }
        self.present.store(Arc::new(present));
    }

    /// Puts a view in force, for every group at once. One older than the present one is passed over.
    pub fn adopt(&self, view: Arc<View>) {
        let _change = self.change.lock();
        let former = self.present.load_full();
        if former.view.as_ref().is_some_and(|present| view.version() < present.version()) {
            return;
        }
        let version = view.version();
        // Before the groups, so that none of them serves by the new view with grants of the former one.
        self.grants.adopt(&view, || lapse(&former));
        for group in former.all.values() {
            group.adopt(view.clone());
        }
        let present = Present { all: former.all.clone(), known: former.known.clone(), view: Some(view) };
        self.present.store(Arc::new(present));
        self.adopted.send_if_modified(|adopted| std::mem::replace(adopted, version) != version);
    }

    /// Enters a grant that a beat has brought; see [`Grants::granted`].
    pub fn granted(&self, by: &str, term: u64, sent: Instant, length: Duration) {
        self.grants.granted(by, term, sent, length, || lapse(&self.present.load()));
    }

    /// A node that is a grantor grants to itself, under the rules for others.
    pub(crate) fn grant_oneself(&self, term: u64) {
        let Some(view) = self.view() else { return };
        let sent = self.grants.clock().now();
        if let Beaten::Granted(length) = self.grants.beaten(view.me(), view.version(), &view).said {
            self.granted(view.me(), term, sent, length);
        }
    }

    /// Drops every copy if the coverage has run out (K5).
    pub fn lapse_if_due(&self) {
        self.grants.lapse_if_due(|| lapse(&self.present.load()));
    }

    /// As a grantor: answers a beat. Whoever calls has adopted the asker's version before, if it could (G3).
    #[must_use]
    pub fn beaten(&self, asker: &str, version: Version) -> BeatReply {
        match self.view() {
            Some(view) => self.grants.beaten(asker, version, &view),
            None => BeatReply { version: Version::PROVISIONAL, said: Beaten::NotYet(Duration::ZERO) },
        }
    }

    /// As a grantor: bars nodes for a Remove of another node's, or lifts its bars.
    #[must_use]
    pub fn bar(&self, request: &BarRequest) -> BarAck {
        self.grants.bar(request.id, &request.nodes, request.lift, self.version())
    }

    /// Purges for a Remove of another node's. A group that is not known here holds nothing.
    #[must_use]
    pub fn purge(&self, request: &PurgeRequest) -> PurgeAck {
        let group = self.get(&request.group);
        let generation =
            group.map_or(0, |group| group.purge(&request.what, request.window, request.source_version));
        let barred = if request.round > 1 { self.grants.confirm(request.id) } else { Vec::new() };
        PurgeAck { version: self.version(), barred, generation }
    }

    /// What a group's main cache holds of a key and may show another node; see [`Group::held`].
    #[must_use]
    pub fn held(&self, name: &str, key: &[u8]) -> Option<Entry> {
        self.present.load().known.get(name)?.held(key)
    }

    /// The keys that `owner` owns of those held here; `None` if this node may serve no copies now. See [`Group::keys_for`].
    pub async fn keys_for(&self, owner: &str, request: &KeysRequest) -> Option<KeysHeld> {
        // The version first: the group's view is this one's or newer.
        let version = self.version();
        let keys = match self.get(&request.group) {
            Some(group) => group.keys_for(owner, request.limit).await?,
            None => Vec::new(),
        };
        Some(KeysHeld { version, keys })
    }

    /// What is held here of many keys; `None` if this node may serve no copies now. See [`Group::held_of`].
    #[must_use]
    pub fn held_of(&self, request: &PeekManyRequest) -> Option<PeekedMany> {
        let entries = match self.get(&request.group) {
            Some(group) => group.held_of(&request.keys)?,
            None => vec![None; request.keys.len()],
        };
        Some(PeekedMany { version: self.version(), entries })
    }

    fn version(&self) -> Version {
        self.view().map(|view| view.version()).unwrap_or_default()
    }

    /// The view in force.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.present.load().view.clone()
    }
}

/// Every group drops what it holds and forgets what is on its way.
fn lapse(present: &Present) {
    for group in present.all.values() {
        group.lapse();
    }
}
