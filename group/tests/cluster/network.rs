//! Nodes in one process, and the links between them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use groupcache_group::grants::DEFAULT_BOUND;
use groupcache_group::group::{Answer, GetError, Group, Origin, RemoveError, Settings};
use groupcache_group::groups::Groups;
use groupcache_group::peer::PeerError;
use groupcache_group::value::Key;
use groupcache_group::view::View;
use groupcache_ring::{Member, Ring, Snapshot, State, Version};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::shake::{below, shake};
use crate::source::Source;

pub(crate) const GROUP: &str = "g";
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Where a message can be held on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leg {
    Fetch,
    FetchReply,
    FetchMany,
    FetchManyReply,
    Purge,
    Store,
    Peek,
    PeekReply,
    Beat,
    Bar,
    Keys,
    PeekMany,
    PeekManyReply,
}

const LEGS: [Leg; 9] = [
    Leg::Fetch,
    Leg::FetchMany,
    Leg::Purge,
    Leg::Store,
    Leg::Peek,
    Leg::Beat,
    Leg::Bar,
    Leg::Keys,
    Leg::PeekMany,
];

type Link = watch::Sender<(usize, Hold)>;

pub(crate) struct Network {
    pub(crate) nodes: Mutex<HashMap<String, Arc<Groups>>>,
    /// How many messages reached the end of a link, and whether they are held there.
    links: Mutex<HashMap<(Leg, String), Link>>,
    /// Nodes that reach nobody.
    alone: Mutex<BTreeSet<String>>,
    /// Makes every message take a moment, now a short one and now a long one.
    pub(crate) shaky: AtomicBool,
    /// How many milliseconds a message takes at most in one place.
    slow: Mutex<HashMap<Leg, u64>>,
    /// How many keys an owner answers in one call before it says that the answer is full.
    pub(crate) most_answers: AtomicUsize,
}

impl Default for Network {
    fn default() -> Self {
        Network {
            nodes: Mutex::default(),
            links: Mutex::default(),
            alone: Mutex::default(),
            shaky: AtomicBool::new(false),
            most_answers: AtomicUsize::new(usize::MAX),
            slow: Mutex::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    #[default]
    Open,
    Held,
    Cut,
}

impl Network {
    fn link(&self, leg: Leg, to: &str) -> Link {
        self.links
            .lock()
            .entry((leg, to.to_owned()))
            .or_insert_with(|| watch::Sender::new((0, Hold::Open)))
            .clone()
    }

    pub(crate) fn set(&self, leg: Leg, node: &str, hold: Hold) {
        self.link(leg, node).send_modify(|(_, present)| *present = hold);
    }

    /// No node tells another of its view by a beat or by asking for keys, and none gets a grant.
    pub(crate) fn hold_beats(&self) {
        let nodes: Vec<String> = self.nodes.lock().keys().cloned().collect();
        for node in nodes {
            self.set(Leg::Beat, &node, Hold::Held);
            self.set(Leg::Keys, &node, Hold::Held);
        }
    }

    /// A node that nobody can reach any more.
    pub(crate) fn cut(&self, node: &str) {
        for leg in LEGS {
            self.set(leg, node, Hold::Cut);
        }
    }

    /// A node that neither reaches anybody nor is reached.
    pub(crate) fn isolate(&self, node: &str) {
        self.cut(node);
        self.alone.lock().insert(node.to_owned());
    }

    /// It is back.
    pub(crate) fn rejoin(&self, node: &str) {
        for leg in LEGS {
            self.set(leg, node, Hold::Open);
        }
        self.alone.lock().remove(node);
    }

    /// Has messages take up to so many milliseconds there.
    pub(crate) fn slow(&self, leg: Leg, millis: u64) {
        self.slow.lock().insert(leg, millis);
    }

    /// Waits until so many messages in all have come to this place.
    pub(crate) async fn passed(&self, leg: Leg, node: &str, count: usize) {
        let mut link = self.link(leg, node).subscribe();
        let passed = link.wait_for(|(passed, _)| *passed >= count);
        timeout(Duration::from_secs(60), passed).await.expect("nothing more comes by").unwrap();
    }

    pub(crate) fn count(&self, leg: Leg, node: &str) -> usize {
        self.link(leg, node).borrow().0
    }

    pub(crate) fn is_alone(&self, node: &str) -> bool {
        self.alone.lock().contains(node)
    }

    pub(crate) async fn pass(&self, leg: Leg, node: &str) -> Result<(), PeerError> {
        let link = self.link(leg, node);
        link.send_modify(|(passed, _)| *passed += 1);
        if self.shaky.load(Ordering::Relaxed) {
            shake().await;
        }
        let slow = self.slow.lock().get(&leg).copied();
        if let Some(slow) = slow {
            tokio::time::sleep(Duration::from_millis(below(slow))).await;
        }
        let hold = link.subscribe().wait_for(|(_, hold)| *hold != Hold::Held).await.unwrap().1;
        if hold == Hold::Cut {
            Err(PeerError::Unreachable(format!("{node} is cut off").into()))
        } else {
            Ok(())
        }
    }

    pub(crate) fn node(&self, name: &str) -> Arc<Groups> {
        self.nodes.lock()[name].clone()
    }
}

/// A cluster of nodes with one group and one source.
pub(crate) struct Cluster {
    pub(crate) network: Arc<Network>,
    pub(crate) source: Arc<Source>,
    pub(crate) nodes: Vec<Arc<Groups>>,
    pub(crate) members: Vec<Member>,
    /// What keeps each node's grants up.
    pub(crate) beats: Vec<AbortHandle>,
}

pub(crate) fn settings() -> Settings {
    Settings { purge_timeout: WINDOW, hot_percent: 20, ..Settings::new(GROUP, 8 << 20) }
}

pub(crate) fn member(at: usize, state: State) -> Member {
    Member { state, ..Member::active(format!("n{at}"), format!("n{at}:1")) }
}

pub(crate) fn view(me: &str, sequence: u64, members: &[Member]) -> Arc<View> {
    let version = Version::new(1, sequence);
    let snapshot = Snapshot::new("uid", version, version, grantors(members), members.to_vec()).unwrap();
    Arc::new(View::new(me, Arc::new(snapshot)))
}

/// The first three Active ones, or the first of fewer.
fn grantors(members: &[Member]) -> Vec<String> {
    let active = members.iter().filter(|member| member.state == State::Active).map(|m| m.name.clone());
    let mut names: Vec<String> = active.take(3).collect();
    if names.len() == 2 {
        names.pop();
    }
    names
}

pub(crate) fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

pub(crate) fn key(text: &str) -> Key {
    Key::new(text.to_owned(), 1024).unwrap()
}

impl Cluster {
    /// So many Active nodes that have been up for longer than a window.
    pub(crate) async fn of(count: usize) -> Self {
        Self::with(count, settings()).await
    }

    pub(crate) async fn with(count: usize, settings: Settings) -> Self {
        let cluster = Self::just_born(count, &settings);
        cluster.serving().await;
        cluster
    }

    /// Nodes that have only just begun: none has a grant yet, and none gives one.
    pub(crate) fn just_born(count: usize, settings: &Settings) -> Self {
        Self::just_born_with(count, settings, DEFAULT_BOUND)
    }

    pub(crate) fn just_born_with(count: usize, settings: &Settings, bound: Duration) -> Self {
        let network = Arc::new(Network::default());
        let source = Arc::new(Source::default());
        let members: Vec<_> = (0..count).map(|at| member(at, State::Active)).collect();
        let mut cluster = Cluster { network, source, nodes: Vec::new(), members, beats: Vec::new() };
        for at in 0..count {
            let groups = cluster.begin(at, settings, bound);
            groups.adopt(view(&format!("n{at}"), 1, &cluster.members));
            cluster.nodes.push(groups);
        }
        cluster
    }

    /// Waits until every node that may serve copies does.
    pub(crate) async fn serving(&self) {
        let may = |node: &Groups| node.view().unwrap().may_keep();
        let serves = |node: &Groups| node.grants().serves(Instant::now());
        while !self.nodes.iter().all(|node| serves(node) || !may(node)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn group(&self, at: usize) -> Arc<Group> {
        self.nodes[at].get(GROUP).unwrap()
    }

    pub(crate) async fn get(&self, at: usize, key: &Key) -> Result<Answer, GetError> {
        self.group(at).get(key.clone(), Origin::Client, in_time()).await
    }

    pub(crate) async fn remove(&self, at: usize, key: &Key) -> Result<(), RemoveError> {
        self.group(at).remove(vec![key.clone()], None, in_time()).await
    }

    /// A key whose owners rank as these nodes do.
    pub(crate) fn key_of(&self, owners: &[usize]) -> Key {
        self.keys_of(owners, 1).remove(0)
    }

    /// So many of them.
    pub(crate) fn keys_of(&self, owners: &[usize], count: usize) -> Vec<Key> {
        let ring = Ring::new(&self.members);
        let keys = (0..100_000).map(|n| key(&format!("key-{n}")));
        let keys = keys.filter(|key| ring.ranked(key.as_bytes(), owners.len()) == owners);
        let keys: Vec<_> = keys.take(count).collect();
        assert_eq!(keys.len(), count);
        keys
    }

    pub(crate) async fn get_many(&self, at: usize, keys: &[Key]) -> Vec<Result<Answer, GetError>> {
        self.group(at).get_many(keys.to_vec(), Origin::Client, in_time(), usize::MAX).await
    }

    /// Has every node adopt a membership of these.
    pub(crate) fn adopt(&mut self, sequence: u64, members: Vec<Member>) {
        for (at, node) in self.nodes.iter().enumerate() {
            node.adopt(view(&format!("n{at}"), sequence, &members));
        }
        self.members = members;
    }
}

/// Lets time pass, in steps so short that grants are renewed meanwhile: a leap would look like a machine that slept.
pub(crate) async fn pass(time: Duration) {
    const STEP: Duration = Duration::from_millis(500);
    let end = Instant::now() + time;
    while Instant::now() < end {
        tokio::time::advance(STEP.min(end - Instant::now())).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
}

/// Waits, without letting time pass, for what must come about by itself.
pub(crate) async fn eventually(mut comes_about: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if comes_about() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never came about");
}

impl Cluster {
    /// A Get with a deadline of its own.
    pub(crate) async fn get_by(&self, at: usize, key: &Key, deadline: Instant) -> Result<Answer, GetError> {
        self.group(at).get(key.clone(), Origin::Client, deadline).await
    }
}
