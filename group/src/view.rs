//! A view: one membership, seen from one node.

use std::sync::Arc;

use groupcache_ring::{Fault, Member, Ring, Snapshot, State, Version};

/// Who owns what, and who else there is, as this node sees it at one version.
#[derive(Clone, Debug)]
pub struct View {
    me: Arc<str>,
    my_state: Option<State>,
    snapshot: Arc<Snapshot>,
    ring: Ring,
}

/// Where a key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// At this node.
    Me,
    /// At another one.
    Peer(&'a Member),
}

impl View {
    /// The view that the node called `me` has of a membership.
    #[must_use]
    pub fn new(me: impl Into<Arc<str>>, snapshot: Arc<Snapshot>) -> Self {
        let me = me.into();
        let ring = Ring::new(snapshot.members());
        let my_state = snapshot.member(&me).map(|member| member.state);
        View { me, my_state, snapshot, ring }
    }

    /// The view of a node that is its own whole cluster: an application that embeds the library.
    ///
    /// # Errors
    /// If `me` cannot be a member's name: 1 to 253 of `[a-z0-9.-]`.
    pub fn alone(me: &str) -> Result<Self, Vec<Fault>> {
        let version = Version::new(1, 1);
        let members = vec![Member::active(me, "localhost:1")];
        let snapshot = Snapshot::new("alone", version, version, vec![me.to_owned()], members)?;
        Ok(View::new(me, Arc::new(snapshot)))
    }

    /// The key's owner; `None` while no member is Active.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> Option<Place<'_>> {
        self.ring.owner(key).map(|at| self.place(at))
    }

    /// The key's first `count` owners, best first.
    #[must_use]
    pub fn ranked(&self, key: &[u8], count: usize) -> Vec<Place<'_>> {
        self.ring.ranked(key, count).into_iter().map(|at| self.place(at)).collect()
    }

    /// Every member but this node, in whatever state.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.snapshot.members().iter().filter(|member| *member.name != *self.me)
    }

    /// This node's name.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// This node's state; `None` if it is not a member.
    #[must_use]
    pub fn my_state(&self) -> Option<State> {
        self.my_state
    }

    /// True if this node may keep what it loads or fetches: a Joining node, or one that is no member, keeps nothing (G6).
    #[must_use]
    pub fn may_keep(&self) -> bool {
        matches!(self.my_state, Some(State::Active | State::Draining))
    }

    /// The version of the membership.
    #[must_use]
    pub fn version(&self) -> Version {
        self.snapshot.version()
    }

    /// The hash of who owns keys.
    #[must_use]
    pub fn ring_hash(&self) -> u64 {
        self.ring.hash()
    }

    /// The membership itself.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    fn place(&self, at: usize) -> Place<'_> {
        let member = &self.snapshot.members()[at];
        if *member.name == *self.me { Place::Me } else { Place::Peer(member) }
    }
}
