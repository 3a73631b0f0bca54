//! A view: one membership, seen from one node.

use std::sync::Arc;

use groupcache_ring::{Fault, Member, Prior, Ring, Snapshot, State, Version};

use crate::simulation::{Rule, off};

/// Who owns what, and who else there is, as this node sees it at one version.
#[derive(Clone, Debug)]
pub struct View {
    me: Arc<str>,
    my_state: Option<State>,
    another_pods: bool,
    snapshot: Arc<Snapshot>,
    ring: Ring,
    /// What still binds, oldest first; this membership is the last of them.
    unsettled: Vec<Prior>,
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
        Self::of_pod(me, "", snapshot)
    }

    /// The view that the process of the pod `pod_uid` has, whose node is called `me`.
    ///
    /// Where the membership means another pod of that name, this one is in its place, but only as one that joins: it serves and keeps nothing, for it does
    /// not know what its predecessor knew (K4).
    #[must_use]
    pub fn of_pod(me: impl Into<Arc<str>>, pod_uid: &str, snapshot: Arc<Snapshot>) -> Self {
        let me = me.into();
        let ring = Ring::new(snapshot.members());
        let mine = snapshot.member(&me);
        let other =
            |member: &&Member| !pod_uid.is_empty() && !member.pod_uid.is_empty() && member.pod_uid != pod_uid;
        let another_pods = mine.as_ref().is_some_and(other);
        let my_state = mine.map(|member| if another_pods { State::Joining } else { member.state });
        let unsettled = snapshot.priors().iter().cloned().chain([snapshot.as_prior()]).collect();
        View { me, my_state, another_pods, snapshot, ring, unsettled }
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
        match self.my_state {
            Some(State::Active | State::Draining) => true,
            Some(State::Joining) => off(Rule::JoiningKeeps),
            None => false,
        }
    }

    /// True if the membership means another pod of this node's name.
    #[must_use]
    pub fn is_another_pods(&self) -> bool {
        self.another_pods
    }

    /// The memberships that bind: from the settled one on, oldest first, this one last. One that binds no more than its successor is left out.
    #[must_use]
    pub fn unsettled(&self) -> &[Prior] {
        &self.unsettled
    }

    /// True if grants obtained under the one count under the other: the same memberships bind, and this node may do the same in both.
    #[must_use]
    pub fn binds_as(&self, other: &View) -> bool {
        self.my_state == other.my_state
            && self.unsettled.len() == other.unsettled.len()
            && self.unsettled.iter().zip(&other.unsettled).all(|(one, other)| one.binds_as(other))
    }

    /// A member of any membership that binds, as the newest of them knows it.
    #[must_use]
    pub fn known(&self, name: &str) -> Option<&Member> {
        let in_priors = || {
            let mut priors = self.snapshot.priors().iter().rev();
            priors.find_map(|prior| prior.members.iter().find(|member| member.name == name))
        };
        self.snapshot.member(name).or_else(in_priors)
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
