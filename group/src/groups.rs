//! All groups of a node, by name and alias, changed while they serve.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::group::{Answer, Group, Origin, Settings};
use crate::loader::Loader;
use crate::peer::Peers;
use crate::view::View;

/// The groups of one node.
pub struct Groups {
    peers: Arc<dyn Peers>,
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
    /// No group yet; they will reach other nodes through `peers`.
    #[must_use]
    pub fn new(peers: Arc<dyn Peers>) -> Self {
        Groups { peers, present: ArcSwap::default(), change: Mutex::new(()) }
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
                let group = Group::new(settings, loader, self.peers.clone());
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
        for group in former.all.values() {
            group.adopt(view.clone());
        }
        let present = Present { all: former.all.clone(), known: former.known.clone(), view: Some(view) };
        self.present.store(Arc::new(present));
    }

    /// The view in force.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        self.present.load().view.clone()
    }
}
