//! Nodes in one process, and the links between them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::group::{Answer, GetError, Group, Origin, RemoveError, Settings};
use groupcache_group::groups::Groups;
use groupcache_group::peer::{FetchOutcome, FetchRequest, Fetched, PeerError, Peers, PurgeAck, PurgeRequest};
use groupcache_group::value::{Entry, Key};
use groupcache_group::view::View;
use groupcache_ring::{Member, Ring, Snapshot, State, Version};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::shake::shake;
use crate::source::Source;

pub(crate) const GROUP: &str = "g";
pub(crate) const WINDOW: Duration = Duration::from_secs(1);

/// Where a message can be held on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Leg {
    Fetch,
    FetchReply,
    Purge,
}

type Link = watch::Sender<(usize, Hold)>;

#[derive(Default)]
pub(crate) struct Network {
    nodes: Mutex<HashMap<String, Arc<Groups>>>,
    /// How many messages reached the end of a link, and whether they are held there.
    links: Mutex<HashMap<(Leg, String), Link>>,
    /// Makes every message take a moment, now a short one and now a long one.
    pub(crate) shaky: AtomicBool,
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

    /// A node that nobody can reach any more.
    pub(crate) fn cut(&self, node: &str) {
        self.set(Leg::Fetch, node, Hold::Cut);
        self.set(Leg::Purge, node, Hold::Cut);
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

    async fn pass(&self, leg: Leg, node: &str) -> Result<(), PeerError> {
        let link = self.link(leg, node);
        link.send_modify(|(passed, _)| *passed += 1);
        if self.shaky.load(Ordering::Relaxed) {
            shake().await;
        }
        let hold = link.subscribe().wait_for(|(_, hold)| *hold != Hold::Held).await.unwrap().1;
        if hold == Hold::Cut {
            Err(PeerError::Unreachable(format!("{node} is cut off").into()))
        } else {
            Ok(())
        }
    }

    fn node(&self, name: &str) -> Arc<Groups> {
        self.nodes.lock()[name].clone()
    }
}

/// One node's way to the others.
struct Links(Arc<Network>);

impl Peers for Links {
    fn fetch(&self, peer: &Member, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.0.pass(Leg::Fetch, &peer).await?;
            let groups = self.0.node(&peer);
            let version = groups.view().unwrap().version();
            let said = |outcome| Ok(Fetched { version, outcome });
            let Some(group) = groups.get(&request.group) else { return said(FetchOutcome::UnknownGroup) };
            let result = group.get(request.key, Origin::Peer, request.deadline).await;
            self.0.pass(Leg::FetchReply, &peer).await?;
            match result {
                Ok(Answer { entry, keep, .. }) => said(FetchOutcome::Entry { entry: arrived(entry), keep }),
                Err(GetError::Load(error)) => said(FetchOutcome::LoadError(error)),
                Err(GetError::DeadlineExceeded) => Err(PeerError::DeadlineExceeded),
                Err(GetError::NotReady) => Err(PeerError::Refused("not ready".into())),
            }
        })
    }

    fn purge(&self, peer: &Member, request: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.0.pass(Leg::Purge, &peer).await?;
            let groups = self.0.node(&peer);
            if let Some(group) = groups.get(&request.group) {
                group.purge(&request.keys, request.window, None);
            }
            Ok(PurgeAck { version: groups.view().unwrap().version() })
        })
    }
}

/// An entry as the wire brings it: what is left of its time, and its age.
fn arrived(entry: Entry) -> Entry {
    let now = Instant::now();
    let expires = entry.remaining(now).map(|left| now + left);
    Entry { loaded: now - now.saturating_duration_since(entry.loaded), expires, ..entry }
}

/// A cluster of nodes with one group and one source.
pub(crate) struct Cluster {
    pub(crate) network: Arc<Network>,
    pub(crate) source: Arc<Source>,
    pub(crate) nodes: Vec<Arc<Groups>>,
    pub(crate) members: Vec<Member>,
}

pub(crate) fn settings() -> Settings {
    Settings { purge_timeout: WINDOW, hot_percent: 20, ..Settings::new(GROUP, 8 << 20) }
}

pub(crate) fn member(at: usize, state: State) -> Member {
    Member { state, ..Member::active(format!("n{at}"), format!("n{at}:1")) }
}

pub(crate) fn view(me: &str, sequence: u64, members: &[Member]) -> Arc<View> {
    let version = Version::new(1, sequence);
    let snapshot = Snapshot::new("uid", version, version, Vec::new(), members.to_vec()).unwrap();
    Arc::new(View::new(me, Arc::new(snapshot)))
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
        tokio::time::advance(WINDOW).await;
        cluster
    }

    pub(crate) fn just_born(count: usize, settings: &Settings) -> Self {
        let network = Arc::new(Network::default());
        let source = Arc::new(Source::default());
        let members: Vec<_> = (0..count).map(|at| member(at, State::Active)).collect();
        let mut nodes = Vec::new();
        for member in &members {
            let groups = Arc::new(Groups::new(Arc::new(Links(network.clone()))));
            groups.configure(vec![(settings.clone(), source.clone())]);
            groups.adopt(view(&member.name, 1, &members));
            network.nodes.lock().insert(member.name.clone(), groups.clone());
            nodes.push(groups);
        }
        Cluster { network, source, nodes, members }
    }

    pub(crate) fn group(&self, at: usize) -> Arc<Group> {
        self.nodes[at].get(GROUP).unwrap()
    }

    pub(crate) async fn get(&self, at: usize, key: &Key) -> Result<Answer, GetError> {
        self.group(at).get(key.clone(), Origin::Client, in_time()).await
    }

    pub(crate) async fn remove(&self, at: usize, key: &Key) -> Result<(), RemoveError> {
        self.group(at).remove(vec![key.clone()], in_time()).await
    }

    /// A key whose owners rank as these nodes do.
    pub(crate) fn key_of(&self, owners: &[usize]) -> Key {
        let ring = Ring::new(&self.members);
        (0..100_000)
            .map(|n| key(&format!("key-{n}")))
            .find(|key| ring.ranked(key.as_bytes(), owners.len()) == owners)
            .unwrap()
    }

    /// Has every node adopt a membership of these.
    pub(crate) fn adopt(&mut self, sequence: u64, members: Vec<Member>) {
        for (at, node) in self.nodes.iter().enumerate() {
            node.adopt(view(&format!("n{at}"), sequence, &members));
        }
        self.members = members;
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
