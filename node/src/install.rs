//! Puts an adopted snapshot to work: rules of access, groups, loaders and connections.

use std::sync::Arc;

use groupcache_group::groups::Groups;

use crate::access::Access;
use crate::loader::Loaders;
use crate::membership::Install;
use crate::transport::peers::TonicPeers;

/// What is done with each snapshot that is adopted. Groups before the view: a node that owns keys must know what they are keys of.
pub(crate) fn with(
    groups: Arc<Groups>,
    loaders: Arc<Loaders>,
    peers: Arc<TonicPeers>,
    access: Access,
) -> Install {
    Box::new(move |checked, view| {
        let wanted: Vec<_> = checked
            .groups
            .iter()
            .map(|(group, loader)| (Arc::clone(&group.name), group.max_value_bytes, loader.clone()))
            .collect();
        let made = loaders.make(&wanted);
        // Before the groups: none is there for a moment for whom it is not.
        access.rule(checked.access);
        groups.grants().set_bound(checked.staleness_bound);
        groups.configure(checked.groups.into_iter().map(|(group, _)| group).zip(made).collect());
        peers.members(view.snapshot().members());
        groups.adopt(view);
    })
}
