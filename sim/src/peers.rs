//! One node's way to the others: what the real transport promises, over the network of the simulation.

use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use groupcache_group::clock::Clock;
use groupcache_group::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, FetchManyRequest, FetchOutcome, FetchRequest, Fetched,
    FetchedMany, KeysHeld, KeysRequest, PeekManyRequest, PeekRequest, Peeked, PeekedMany, PeerError, Peers,
    PurgeAck, PurgeRequest, StoreAck, StoreRequest,
};
use groupcache_group::value::{Entry, Key};
use groupcache_ring::{Member, Version};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::network::{Call, Carried, Said};
use crate::shared::{Shared, node_of};

/// How long an owner is waited for that shows no sign of life, and after one.
const FIRST_SIGN: Duration = Duration::from_millis(150);
const NEXT_SIGN: Duration = Duration::from_millis(1500);

/// A call that waits for its answers. Dropped: the other end hears that nobody waits.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    call: u64,
    from: usize,
    to: usize,
    answers: mpsc::UnboundedReceiver<Said>,
}

impl Ticket {
    /// Sends a call.
    #[must_use]
    pub fn ask(shared: &Arc<Shared>, from: usize, to: usize, version: Version, call: Call) -> Self {
        let (call, answers) = shared.network.lock().call(shared.now(), from, to, version, call);
        Ticket { shared: shared.clone(), call, from, to, answers }
    }

    /// The next answer.
    pub async fn answer(&mut self) -> Option<Said> {
        self.answers.recv().await
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.network.lock().hang_up(self.shared.now(), self.call, self.from, self.to);
    }
}

/// An entry on its way.
#[must_use]
pub fn carry(entry: &Entry, now: Instant) -> Carried {
    let age = now.saturating_duration_since(entry.loaded);
    Carried { outcome: entry.outcome.clone(), age, remaining: entry.remaining(now) }
}

/// An entry that has come.
#[must_use]
pub fn unpack(carried: Carried, now: Instant) -> Entry {
    Entry {
        outcome: carried.outcome,
        loaded: now.checked_sub(carried.age).unwrap_or(now),
        expires: carried.remaining.map(|left| now + left),
        source_version: None,
    }
}

/// The links of one process.
#[derive(Debug)]
pub struct Links {
    shared: Arc<Shared>,
    me: usize,
    clock: Clock,
    heard: mpsc::Sender<(usize, Version)>,
}

impl Links {
    /// The links of the process at `me`. Versions that peers show go to `heard`.
    #[must_use]
    pub fn new(shared: Arc<Shared>, me: usize, clock: Clock, heard: mpsc::Sender<(usize, Version)>) -> Self {
        Links { shared, me, clock, heard }
    }

    async fn ask(
        &self,
        peer: &Member,
        version: Version,
        call: Call,
        deadline: Instant,
    ) -> Result<Said, PeerError> {
        let mut ticket = Ticket::ask(&self.shared, self.me, node_of(&peer.name), version, call);
        let said = timeout_at(deadline, ticket.answer()).await.map_err(|_| PeerError::DeadlineExceeded)?;
        self.take(peer, said)
    }

    /// Notes the version that an answer shows.
    fn take(&self, peer: &Member, said: Option<Said>) -> Result<Said, PeerError> {
        let version = match &said {
            None | Some(Said::Unreachable) => {
                return Err(PeerError::Unreachable(format!("{} cannot be reached", peer.name).into()));
            }
            Some(Said::Refused) => return Err(PeerError::Refused(format!("{} refuses", peer.name).into())),
            Some(Said::Late) => return Err(PeerError::DeadlineExceeded),
            Some(Said::Fetched(version, _) | Said::Peeked(version, _) | Said::Adopted(version)) => *version,
            Some(Said::Held(held)) => held.version,
            Some(Said::PeekedMany(version, _)) => *version,
            Some(Said::Purged(ack)) => ack.version,
            Some(Said::Stored(ack)) => ack.version,
            Some(Said::Beaten(reply)) => reply.version,
            Some(Said::Barred(ack)) => ack.version,
            Some(Said::Pending | Said::Snapshot(_)) => Version::PROVISIONAL,
        };
        // A full queue is fine: every later answer tells again.
        let _ = self.heard.try_send((node_of(&peer.name), version));
        said.ok_or(PeerError::DeadlineExceeded)
    }

    /// P4: a peer is asked only as the owner, or after the owner.
    fn asks(&self, peer: &Member, key: &Key, version: Version) {
        let (now, at) = (self.shared.now(), self.shared.place_of(key));
        let mut judge = self.shared.judge.lock();
        if let Some(view) = judge.reasons().view_of(self.me, version) {
            judge.fetch_starts(now, self.me, &peer.name, at, key, &view);
        }
    }

    /// A peer could not be reached for these keys.
    fn failed(&self, peer: &Member, keys: &[Key], error: &PeerError) {
        if matches!(error, PeerError::Unreachable(_) | PeerError::Refused(_)) {
            let mut judge = self.shared.judge.lock();
            for key in keys {
                let at = self.shared.place_of(key);
                judge.reasons().failed(self.shared.now(), self.me, &peer.name, at);
            }
        }
    }

    async fn fetch_from(&self, peer: &Member, request: FetchRequest) -> Result<Fetched, PeerError> {
        self.asks(peer, &request.key, request.version);
        let left = request.deadline.saturating_duration_since(Instant::now());
        let call = Call::Fetch(request.key, left);
        let mut ticket = Ticket::ask(&self.shared, self.me, node_of(&peer.name), request.version, call);
        let mut patience = Instant::now() + FIRST_SIGN;
        loop {
            let Ok(said) = timeout_at(patience.min(request.deadline), ticket.answer()).await else {
                let late = Instant::now() >= request.deadline;
                let silent = || PeerError::Unreachable(format!("no sign of life from {}", peer.name).into());
                return Err(if late { PeerError::DeadlineExceeded } else { silent() });
            };
            match self.take(peer, said)? {
                Said::Pending => patience = Instant::now() + NEXT_SIGN,
                Said::Fetched(version, Ok((carried, keep))) => {
                    let entry = unpack(carried, self.clock.now());
                    return Ok(Fetched { version, outcome: FetchOutcome::Entry { entry, keep } });
                }
                Said::Fetched(version, Err(error)) => {
                    return Ok(Fetched { version, outcome: FetchOutcome::LoadError(error) });
                }
                _ => return Err(PeerError::DeadlineExceeded),
            }
        }
    }
}

impl Peers for Links {
    fn fetch(&self, peer: &Member, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let key = request.key.clone();
            self.fetch_from(&peer, request).await.inspect_err(|error| self.failed(&peer, &[key], error))
        })
    }

    /// A message for each key, and the answer when all have come: up to the first that was not answered.
    fn fetch_many(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let FetchManyRequest { group, keys, version, deadline } = request;
            let one = |key| FetchRequest { group: group.clone(), key, version, deadline };
            let fetches = keys.iter().map(|key| self.fetch_from(&peer, one(key.clone())));
            let mut outcomes = Vec::new();
            let mut shown = Version::PROVISIONAL;
            for fetched in join_all(fetches).await {
                match fetched {
                    Ok(fetched) => {
                        shown = shown.max(fetched.version);
                        outcomes.push(fetched.outcome);
                    }
                    Err(error) if outcomes.is_empty() => {
                        self.failed(&peer, &keys, &error);
                        return Err(error);
                    }
                    Err(_) => break,
                }
            }
            Ok(FetchedMany { version: shown, outcomes })
        })
    }

    fn purge(&self, peer: &Member, request: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let (version, deadline) = (request.version, request.deadline);
            match self.ask(&peer, version, Call::Purge(request), deadline).await? {
                Said::Purged(ack) => Ok(ack),
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn store(&self, peer: &Member, request: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let carried = carry(&request.entry, self.clock.now());
            let call = Call::Store(request.key, carried, request.generation);
            match self.ask(&peer, request.version, call, request.deadline).await? {
                Said::Stored(ack) => Ok(ack),
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn peek(&self, peer: &Member, request: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            match self.ask(&peer, request.version, Call::Peek(request.key), request.deadline).await? {
                Said::Peeked(version, carried) => {
                    let entry = carried.map(|carried| unpack(carried, self.clock.now()));
                    Ok(Peeked { version, entry })
                }
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn keys_of(&self, peer: &Member, request: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            match self.ask(&peer, request.version, Call::Keys(request.limit), request.deadline).await? {
                Said::Held(held) => Ok(held),
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn peek_many(
        &self,
        peer: &Member,
        request: PeekManyRequest,
    ) -> BoxFuture<'_, Result<PeekedMany, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            match self.ask(&peer, request.version, Call::PeekMany(request.keys), request.deadline).await? {
                Said::PeekedMany(version, carried) => {
                    let now = self.clock.now();
                    let entries = carried.into_iter().map(|one| one.map(|one| unpack(one, now))).collect();
                    Ok(PeekedMany { version, entries })
                }
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn beat(&self, peer: &Member, request: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            match self.ask(&peer, request.version, Call::Beat, request.deadline).await? {
                Said::Beaten(reply) => Ok(reply),
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }

    fn bar(&self, peer: &Member, request: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>> {
        let peer = peer.clone();
        Box::pin(async move {
            let (version, deadline) = (request.version, request.deadline);
            match self.ask(&peer, version, Call::Bar(request), deadline).await? {
                Said::Barred(ack) => Ok(ack),
                _ => Err(PeerError::DeadlineExceeded),
            }
        })
    }
}
