//! One Remove on its way: what it purges, whom it must tell, and what it has learnt of memberships meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::{Member, Prior, State, Version};
use tokio::time::Instant;

use crate::group::Group;
use crate::group::remove::NodeFailure;
use crate::peer::{BarRequest, Purged, RemoveId};
use crate::simulation::{Rule, off, random_state};
use crate::view::View;

/// How long the news that bars are lifted may take: a bar lapses by itself soon after.
const LIFTING: Duration = Duration::from_secs(1);

/// Why an attempt ended without success.
pub(super) enum Stop {
    /// A new attempt may succeed.
    Again(Vec<NodeFailure>),
    /// Time is up, or too few grantors can be reached.
    Failed(Vec<NodeFailure>),
}

/// A Remove, from its call to its answer.
pub(in crate::group) struct Removal {
    pub(super) group: Arc<Group>,
    pub(super) what: Purged,
    pub(super) source_version: Option<u64>,
    pub(super) id: RemoveId,
    pub(super) window: Duration,
    /// The caller's.
    pub(super) deadline: Instant,
    pub(super) view: Arc<View>,
    /// Every membership that binds, from the one that was settled at the call to the newest known (R1, R2).
    pub(super) priors: BTreeMap<Version, Prior>,
    /// Everyone in them, as the newest knows it.
    pub(super) members: BTreeMap<String, Member>,
    /// The newest version that a node has answered with, and that node.
    pub(super) newest: Option<(Version, String)>,
    /// The grantors that were asked to bar somebody.
    pub(super) barring: BTreeSet<String>,
    pub(super) barred: BTreeSet<String>,
    /// What the purges of the last round answered, by node.
    pub(super) generations: HashMap<String, u64>,
}

impl Removal {
    pub(in crate::group) fn new(
        group: Arc<Group>,
        view: Arc<View>,
        what: Purged,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Self {
        let mut removal = Removal {
            window: group.settings().purge_timeout,
            group,
            what,
            source_version,
            // Seeded anew by the process's own randomness: two Removes of any two nodes differ.
            id: RemoveId(random_state().hash_one(0u8)),
            deadline,
            view,
            priors: BTreeMap::new(),
            members: BTreeMap::new(),
            newest: None,
            barring: BTreeSet::new(),
            barred: BTreeSet::new(),
            generations: HashMap::new(),
        };
        removal.note_view();
        removal
    }

    /// Starts from the view of now.
    pub(super) fn begin(&mut self) {
        self.priors.clear();
        self.members.clear();
        self.newest = None;
        self.learn();
        self.note_view();
    }

    pub(super) fn me(&self) -> &str {
        self.view.me()
    }

    /// The view at the end of it.
    pub(in crate::group) fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// What this node's purge in the last round answered.
    pub(in crate::group) fn generation_at(&self, node: &str) -> Option<u64> {
        self.generations.get(node).copied()
    }

    /// Takes up a view that this node has adopted since; true if there is one.
    pub(super) fn learn(&mut self) -> bool {
        match self.group.view() {
            Some(newer) if newer.version() > self.view.version() => {
                self.view = newer;
                self.note_view();
                true
            }
            _ => false,
        }
    }

    fn note_view(&mut self) {
        for prior in self.view.unsettled() {
            for member in &prior.members {
                self.members.insert(member.name.clone(), member.clone());
            }
            self.priors.insert(prior.version, prior.clone());
        }
    }

    /// A node has answered with its version.
    pub(super) fn heard(&mut self, node: &str, version: Version) {
        if self.newest.as_ref().is_none_or(|(newest, _)| version > *newest) {
            self.newest = Some((version, node.to_owned()));
        }
    }

    /// The node that knows a newer view than this one, if there is one: nothing may be concluded before it is adopted.
    pub(super) fn ahead(&self) -> Option<NodeFailure> {
        let (version, node) = self
            .newest
            .as_ref()
            .filter(|(version, _)| *version > self.view.version() && !off(Rule::Learn))?;
        let reason =
            format!("has membership {version} and this node only {}; try again", self.view.version());
        Some(NodeFailure { node: node.clone(), reason })
    }

    /// The versions that bind now.
    pub(super) fn binding(&self) -> Vec<Version> {
        self.priors.keys().copied().collect()
    }

    /// True if so many of the grantors for which `holds` is true bar the unreached that these find no majority in any membership that binds (R2).
    pub(super) fn blocked(&self, unreached: &BTreeSet<String>, holds: impl Fn(&str) -> bool) -> bool {
        unreached.is_empty()
            || self.priors.values().filter(|prior| self.binds(prior)).all(|prior| {
                let bars =
                    prior.grantors.iter().filter(|grantor| holds(grantor) && !unreached.contains(*grantor));
                !prior.grantors.is_empty() && bars.count() >= prior.blocking()
            })
    }

    /// Whoever is only told of memberships in which nobody keeps anything cannot serve; but of those after the newest known nothing is known.
    fn binds(&self, prior: &Prior) -> bool {
        prior.version == self.view.version()
            || prior.members.iter().any(|member| matches!(member.state, State::Active | State::Draining))
    }

    /// Lifts this Remove's bars on nodes that are back (R4); not waited for.
    pub(super) fn lift(&mut self, nodes: &[String]) {
        if nodes.is_empty() || self.barring.is_empty() {
            return;
        }
        for node in nodes {
            self.barred.remove(node);
        }
        let group = self.group.clone();
        let me = self.me().to_owned();
        let request = BarRequest {
            id: self.id,
            nodes: nodes.to_vec().into(),
            lift: true,
            version: self.view.version(),
            deadline: Instant::now() + LIFTING,
        };
        let grantors: Vec<Member> =
            self.barring.iter().filter_map(|name| self.members.get(name)).cloned().collect();
        for grantor in grantors {
            if grantor.name == me {
                let _ = group.grants.bar(self.id, &request.nodes, true, request.version);
                continue;
            }
            let (group, request) = (group.clone(), request.clone());
            // A bar that is not lifted lapses by itself.
            tokio::spawn(async move { group.peers.bar(&grantor, request).await.ok() });
        }
    }

    /// The Remove has ended, one way or the other: its bars are of no use any more.
    pub(super) fn lift_all(&mut self) {
        let nodes: Vec<String> = std::mem::take(&mut self.barred).into_iter().collect();
        self.lift(&nodes);
    }
}
