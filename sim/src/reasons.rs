//! Why a node loads a key: it owns it, a peer takes it for the owner, or the owners could not be reached.

use std::collections::VecDeque;
use std::sync::Arc;

use groupcache_group::value::Key;
use groupcache_group::view::{Place, View};
use groupcache_ring::Version;

use crate::plan::{MOST_NODES, Plan};

/// A fetch gives up so long after it began, in milliseconds: the time of a load and a margin. What it found of the owners counts for so long.
const FETCH: u64 = 3200;

/// Views and failures are kept for so long: a flight boards, and its load begins within the load's time, and some more for former owners.
const KEPT: u64 = 3 * FETCH;

/// Clocks of nodes and that of the world are a few steps apart.
const SLACK: u64 = 5;

/// Owners that are asked.
const OWNERS: usize = 2;

/// What each node has for reasons. Times are those of the world, less what the node's machine has slept.
#[derive(Debug)]
pub struct Reasons {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    slept: u64,
    /// Its views, the newest last, each with the time at which it was over.
    views: VecDeque<(Arc<View>, u64)>,
    /// By key: peers that ask for it now, and when the last of them was answered.
    asked: Vec<(usize, Option<u64>)>,
    /// By key: who could not be reached for it, and when.
    failed: Vec<VecDeque<(String, u64)>>,
}

impl Reasons {
    /// None yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let node = Node {
            asked: vec![(0, None); plan.keys],
            failed: vec![VecDeque::new(); plan.keys],
            ..Node::default()
        };
        Reasons { nodes: vec![node; MOST_NODES] }
    }

    /// A process begins, and knows nothing of the one before it.
    pub fn process_begins(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.views.clear();
        node.asked.fill((0, None));
        node.failed.iter_mut().for_each(VecDeque::clear);
    }

    /// A node's machine has slept.
    pub fn slept(&mut self, node: usize, milliseconds: u64) {
        self.nodes[node].slept += milliseconds;
    }

    /// A view is put in force.
    pub fn view(&mut self, now: u64, node: usize, view: Arc<View>) {
        let node = &mut self.nodes[node];
        let now = now - node.slept;
        if let Some((_, until)) = node.views.back_mut() {
            *until = now;
        }
        node.views.push_back((view, u64::MAX));
        while node.views.front().is_some_and(|(_, until)| until.saturating_add(KEPT) < now) {
            node.views.pop_front();
        }
    }

    /// The view of that version, if the node has or had it.
    #[must_use]
    pub fn view_of(&self, node: usize, version: Version) -> Option<Arc<View>> {
        self.nodes[node].views.iter().map(|(view, _)| view).find(|view| view.version() == version).cloned()
    }

    /// A peer asks a node for a key.
    pub fn asked(&mut self, node: usize, key: usize) {
        self.nodes[node].asked[key].0 += 1;
    }

    /// It has its answer, or waits no longer.
    pub fn answered(&mut self, now: u64, node: usize, key: usize) {
        let node = &mut self.nodes[node];
        let now = now - node.slept;
        // One that was asked of a process before does not count here.
        let (asking, last) = &mut node.asked[key];
        *asking = asking.saturating_sub(1);
        *last = Some(now);
    }

    /// A node could not reach another for a key.
    pub fn failed(&mut self, now: u64, node: usize, peer: &str, key: usize) {
        let node = &mut self.nodes[node];
        let now = now - node.slept;
        let failed = &mut node.failed[key];
        failed.retain(|(other, at)| other != peer && at + KEPT >= now);
        failed.push_back((peer.to_owned(), now));
    }

    /// True if a node may ask a peer for a key.
    #[must_use]
    pub fn may_ask(&self, now: u64, node: usize, peer: &str, key: usize, name: &Key, view: &View) -> bool {
        let owners = view.ranked(name.as_bytes(), OWNERS);
        let is_peer = |place: &Place<'_>| name_of(place) == Some(peer);
        match owners.iter().position(is_peer) {
            Some(0) => true,
            Some(_) => {
                name_of(&owners[0]).is_some_and(|owner| self.nodes[node].has_failed(now, FETCH, owner, key))
            }
            None => false,
        }
    }

    /// True if there is a reason for a load whose flight boarded so long ago by the node's clock.
    #[must_use]
    pub fn has_one(&self, now: u64, node: usize, key: usize, name: &Key, waited: u64) -> bool {
        let node = &self.nodes[node];
        let boarded = (now - node.slept).saturating_sub(waited + SLACK);
        let (asking, last) = node.asked[key];
        if asking > 0 || last.is_some_and(|last| last >= boarded) {
            return true;
        }
        node.views.iter().any(|(view, until)| {
            let owners = view.ranked(name.as_bytes(), OWNERS);
            let owns = !matches!(owners.first(), Some(Place::Peer(_)));
            if owns && *until >= boarded {
                return true;
            }
            let mut before = owners.iter().map_while(name_of);
            *until >= boarded.saturating_sub(FETCH)
                && before.all(|owner| node.has_failed(now, waited + FETCH, owner, key))
        })
    }
}

impl Node {
    /// True if it could not reach a peer for a key within so long.
    fn has_failed(&self, now: u64, within: u64, peer: &str, key: usize) -> bool {
        let since = (now - self.slept).saturating_sub(within + SLACK);
        self.failed[key].iter().any(|(other, at)| other == peer && *at >= since)
    }
}

/// The peer's name; `None`: this node.
fn name_of<'a>(place: &Place<'a>) -> Option<&'a str> {
    match place {
        Place::Me => None,
        Place::Peer(member) => Some(&member.name),
    }
}
