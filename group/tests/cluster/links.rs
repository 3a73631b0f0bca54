//! Processes, and one node's way to the others over links that a test may cut or hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::clock::Clock;
use groupcache_group::grants::{DEFAULT_BOUND, Grants, beats};
use groupcache_group::group::{Answer, GetError, Origin, Settings};
use groupcache_group::groups::Groups;
use groupcache_group::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, FetchManyRequest, FetchOutcome, FetchRequest, Fetched,
    FetchedMany, KeysHeld, KeysRequest, PeekManyRequest, PeekRequest, Peeked, PeekedMany, PeerError, Peers,
    PurgeAck, PurgeRequest, StoreAck, StoreRequest,
};
use groupcache_group::view::View;
use groupcache_ring::Member;

use crate::network::{Cluster, Leg, Network, view};

/// One node's way to the others.
struct Links {
    network: Arc<Network>,
    me: String,
}

impl Links {
    async fn pass(&self, leg: Leg, peer: &str) -> Result<(), PeerError> {
        if self.network.is_alone(&self.me) {
            return Err(PeerError::Unreachable(format!("{} reaches nobody", self.me).into()));
        }
        self.network.pass(leg, peer).await
    }

    /// A message comes to a peer; what it brings of versions is adopted there, and what comes back of them here.
    fn meet(&self, peer: &str) -> Arc<Groups> {
        let (mine, theirs) = (self.network.node(&self.me), self.network.node(peer));
        let version = |groups: &Groups| groups.view().map(|view| view.version()).unwrap_or_default();
        let (older, newer, name) = if version(&mine) < version(&theirs) {
            (&mine, &theirs, &*self.me)
        } else {
            (&theirs, &mine, peer)
        };
        if let Some(view) = newer.view().filter(|_| version(older) < version(newer)) {
            older.adopt(Arc::new(View::new(name, Arc::new(view.snapshot().clone()))));
        }
        theirs
    }
}

impl Peers for Links {
    fn fetch(&self, peer: &Member, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Fetch, &peer).await?;
            let groups = self.network.node(&peer);
            let version = groups.view().unwrap().version();
            let said = |outcome| Ok(Fetched { version, outcome });
            let Some(group) = groups.get(&request.group) else { return said(FetchOutcome::UnknownGroup) };
            let result = group.get(request.key, Origin::Peer, request.deadline).await;
            self.pass(Leg::FetchReply, &peer).await?;
            said(outcome(result)?)
        })
    }

    fn fetch_many(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::FetchMany, &peer).await?;
            let groups = self.network.node(&peer);
            let version = groups.view().unwrap().version();
            let Some(group) = groups.get(&request.group) else {
                let outcomes = vec![FetchOutcome::UnknownGroup; request.keys.len()];
                return Ok(FetchedMany { version, outcomes });
            };
            let results = group.get_many(request.keys, Origin::Peer, request.deadline, usize::MAX).await;
            self.pass(Leg::FetchManyReply, &peer).await?;
            let most = self.network.most_answers.load(Ordering::SeqCst);
            let outcomes = results.into_iter().take(most).map(outcome).collect::<Result<_, _>>()?;
            Ok(FetchedMany { version, outcomes })
        })
    }

    fn purge(&self, peer: &Member, request: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Purge, &peer).await?;
            Ok(self.network.node(&peer).purge(&request))
        })
    }

    fn store(&self, peer: &Member, request: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Store, &peer).await?;
            let groups = self.network.node(&peer);
            let group = groups.get(&request.group);
            let stored =
                group.is_some_and(|group| group.store(&request.key, &request.entry, request.generation));
            Ok(StoreAck { version: groups.view().unwrap().version(), stored })
        })
    }

    fn peek(&self, peer: &Member, request: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Peek, &peer).await?;
            let groups = self.network.node(&peer);
            let entry = groups.held(&request.group, request.key.as_bytes());
            let version = groups.view().unwrap().version();
            self.pass(Leg::PeekReply, &peer).await?;
            Ok(Peeked { version, entry })
        })
    }

    fn beat(&self, peer: &Member, request: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Beat, &peer).await?;
            Ok(self.meet(&peer).beaten(&self.me, request.version))
        })
    }

    fn bar(&self, peer: &Member, request: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Bar, &peer).await?;
            Ok(self.meet(&peer).bar(&request))
        })
    }

    fn keys_of(&self, peer: &Member, request: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::Keys, &peer).await?;
            let held = self.meet(&peer).keys_for(&self.me, &request).await;
            held.ok_or_else(|| PeerError::Refused("not serving".into()))
        })
    }

    fn peek_many(
        &self,
        peer: &Member,
        request: PeekManyRequest,
    ) -> BoxFuture<'_, Result<PeekedMany, PeerError>> {
        let peer = peer.name.clone();
        Box::pin(async move {
            self.pass(Leg::PeekMany, &peer).await?;
            let held = self.network.node(&peer).held_of(&request);
            self.pass(Leg::PeekManyReply, &peer).await?;
            held.ok_or_else(|| PeerError::Refused("not serving".into()))
        })
    }
}

/// What an owner says of what it got.
fn outcome(result: Result<Answer, GetError>) -> Result<FetchOutcome, PeerError> {
    match result {
        Ok(Answer { entry, keep, .. }) => Ok(FetchOutcome::Entry { entry, keep }),
        Err(GetError::Load(error)) => Ok(FetchOutcome::LoadError(error)),
        Err(GetError::DeadlineExceeded) => Err(PeerError::DeadlineExceeded),
        Err(GetError::NotReady) => Err(PeerError::Refused("not ready".into())),
    }
}

impl Cluster {
    /// A process begins.
    pub(crate) fn begin(&mut self, at: usize, settings: &Settings, bound: Duration) -> Arc<Groups> {
        let me = format!("n{at}");
        let links = Links { network: self.network.clone(), me: me.clone() };
        let groups = Arc::new(Groups::new(Arc::new(links), Grants::new(Clock::of_the_runtime())));
        groups.grants().set_bound(bound);
        self.beats.insert(at, tokio::spawn(beats::keep_up(groups.clone())).abort_handle());
        groups.configure(vec![(settings.clone(), self.source.clone())]);
        self.network.nodes.lock().insert(me, groups.clone());
        groups
    }

    /// The process of a node ends, and another one of that name begins that knows nothing but the present membership.
    pub(crate) fn replace(&mut self, at: usize, sequence: u64, settings: &Settings) {
        self.beats.remove(at).abort();
        let groups = self.begin(at, settings, DEFAULT_BOUND);
        groups.adopt(view(&format!("n{at}"), sequence, &self.members));
        self.nodes[at] = groups;
    }
}
