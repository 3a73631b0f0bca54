//! The seam to the other nodes: fetch, purge, store, beat and bar, and look at what another holds.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_ring::{Member, Version};
use thiserror::Error;
use tokio::time::Instant;

use crate::loader::LoadError;
use crate::value::{Entry, Key};

/// Reaches other nodes. An implementation never retries and never forwards.
pub trait Peers: Send + Sync + 'static {
    /// Asks `peer` for a key as its owner. It answers before `request.deadline`, or as soon as the peer shows no sign of life.
    fn fetch(&self, peer: &Member, request: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>>;

    /// Drops keys at `peer` and opens their windows there. It answers before `request.deadline`.
    fn purge(&self, peer: &Member, request: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>>;

    /// Stores a value in `peer`'s main cache, unless the key was purged there since. It answers before `request.deadline`.
    fn store(&self, peer: &Member, request: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>>;

    /// Looks into `peer`'s main cache. It answers before `request.deadline`.
    fn peek(&self, peer: &Member, request: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>>;

    /// Asks `peer` for a grant. A peer whose view is older adopts the asker's before it answers. It answers before `request.deadline`.
    fn beat(&self, peer: &Member, request: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>>;

    /// Has `peer`, a grantor, bar nodes or lift bars. It answers before `request.deadline`.
    fn bar(&self, peer: &Member, request: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>>;

    /// Asks `peer` for several keys as their owner, in one call. It answers before `request.deadline`, or as soon as the peer shows no sign of life.
    fn fetch_many(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>>;

    /// Asks `peer` which keys its main cache holds of those that this node owns by its view. It answers before `request.deadline`.
    fn keys_of(&self, peer: &Member, request: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>>;

    /// Looks into `peer`'s main cache for many keys at once. It answers before `request.deadline`.
    fn peek_many(
        &self,
        peer: &Member,
        request: PeekManyRequest,
    ) -> BoxFuture<'_, Result<PeekedMany, PeerError>>;
}

/// What is asked of an owner.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The key.
    pub key: Key,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// What an owner said: data, not transport. All of it is final but `UnknownGroup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The version the owner has adopted.
    pub version: Version,
    /// What it said.
    pub outcome: FetchOutcome,
}

/// The owner's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// The entry, value or not found. An owner that says `keep: false` means: answer it, do not keep it.
    Entry {
        /// The entry, its times turned into this node's.
        entry: Entry,
        /// False if no copy may be kept: it is over the group's size limit, or was not kept by the owner.
        keep: bool,
    },
    /// The loader failed, or was not called because it is overloaded.
    LoadError(LoadError),
    /// The owner does not know the group at its version.
    UnknownGroup,
}

/// What a purge drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purged {
    /// These keys.
    Keys(Arc<[Key]>),
    /// Every key of the group.
    Group,
}

/// What is to be purged.
#[derive(Clone, Debug)]
pub struct PurgeRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// What is dropped.
    pub what: Purged,
    /// For how long the keys' windows stay open at the receiver.
    pub window: Duration,
    /// What is loaded with a lower version of the source than this is not kept.
    pub source_version: Option<u64>,
    /// Which Remove purges.
    pub id: RemoveId,
    /// 1 or 2: the round of the Remove. In the second, a grantor also confirms whom it bars for it.
    pub round: u32,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// Tells one Remove from all others: random, so that nobody needs to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoveId(pub u64);

/// A peer has purged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgeAck {
    /// The version it has adopted.
    pub version: Version,
    /// In round 2: whom it, as a grantor, still bars for this Remove.
    pub barred: Vec<String>,
    /// The generation that the purge of a single key has raised it to there; see [`StoreRequest::generation`].
    pub generation: u64,
}

/// A value that a client Set, for the key's owner.
#[derive(Clone, Debug)]
pub struct StoreRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The key.
    pub key: Key,
    /// What is stored.
    pub entry: Entry,
    /// What the purge before it answered: if the key was purged since, the value is not stored.
    pub generation: u64,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// A peer has stored a value, or knows better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreAck {
    /// The version it has adopted.
    pub version: Version,
    /// False: a Remove or Set that came later stands.
    pub stored: bool,
}

/// A look into a peer's main cache.
#[derive(Clone, Debug)]
pub struct PeekRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The key.
    pub key: Key,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// What a peer's main cache holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// The version it has adopted.
    pub version: Version,
    /// The entry, if it holds one and may serve it.
    pub entry: Option<Entry>,
}

/// Asks what a peer holds of what this node owns.
#[derive(Clone, Debug)]
pub struct KeysRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The version the asker has adopted.
    pub version: Version,
    /// Most keys that are of use.
    pub limit: usize,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// What a peer holds of what the asker owns by the peer's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysHeld {
    /// The version it has adopted.
    pub version: Version,
    /// The keys, the last used ones first.
    pub keys: Vec<Key>,
}

/// Looks for many keys in a peer's main cache.
#[derive(Clone, Debug)]
pub struct PeekManyRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The keys.
    pub keys: Vec<Key>,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// What a peer's main cache holds of many keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeekedMany {
    /// The version it has adopted.
    pub version: Version,
    /// For each key in order, the entry if it holds one. Fewer than keys if they would be too much for one answer, but never none: the rest is to be
    /// asked for again.
    pub entries: Vec<Option<Entry>>,
}

/// Asks a grantor for the right to serve copies.
#[derive(Clone, Copy, Debug)]
pub struct BeatRequest {
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// A grantor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeatReply {
    /// The version it has adopted.
    pub version: Version,
    /// What it says.
    pub said: Beaten,
}

/// What a grantor says to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beaten {
    /// Granted, for so long from the *sending* of the beat: the grantor's staleness bound.
    Granted(Duration),
    /// A Remove that could not reach the asker bars it.
    Barred,
    /// The asker's view is older than the grantor's: adopt the newer one first.
    Behind,
    /// The grantor grants nothing yet: it has started too short a time ago, or could not adopt the asker's newer view.
    NotYet(Duration),
}

/// Bars nodes for a Remove, or lifts its bars.
#[derive(Clone, Debug)]
pub struct BarRequest {
    /// Which Remove bars.
    pub id: RemoveId,
    /// The nodes' names.
    pub nodes: Arc<[String]>,
    /// True: the bars of this Remove on these nodes are lifted.
    pub lift: bool,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// A grantor has barred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarAck {
    /// The version it has adopted.
    pub version: Version,
    /// For how long the last grant that it gave to one of the nodes may still run.
    pub remaining: Duration,
}

/// What is asked of an owner of several keys.
#[derive(Clone, Debug)]
pub struct FetchManyRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The keys, none twice.
    pub keys: Vec<Key>,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// What an owner said of several keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedMany {
    /// The version the owner has adopted.
    pub version: Version,
    /// What it said of the first keys, in their order: of one at least. Where there are more keys the answer was full, and they are to be asked for again.
    pub outcomes: Vec<FetchOutcome>,
}

/// Why a peer gave no answer. One variant per reaction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PeerError {
    /// No connection, a reset, or no sign of life: ask the second owner.
    #[error("{0}")]
    Unreachable(Arc<str>),
    /// It lives but refuses us: another process at that address, or a call it does not take.
    #[error("{0}")]
    Refused(Arc<str>),
    /// It lives but did not answer before the deadline.
    #[error("no answer before the deadline")]
    DeadlineExceeded,
}

/// No other nodes: the peers of a process that is its own whole cluster.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl NoPeers {
    fn unreachable<T: Send + 'static>(peer: &Member) -> BoxFuture<'static, Result<T, PeerError>> {
        let why = format!("this process has no peers, so {} cannot be asked", peer.name);
        Box::pin(std::future::ready(Err(PeerError::Unreachable(why.into()))))
    }
}

impl Peers for NoPeers {
    fn fetch(&self, peer: &Member, _: FetchRequest) -> BoxFuture<'_, Result<Fetched, PeerError>> {
        Self::unreachable(peer)
    }

    fn purge(&self, peer: &Member, _: PurgeRequest) -> BoxFuture<'_, Result<PurgeAck, PeerError>> {
        Self::unreachable(peer)
    }

    fn store(&self, peer: &Member, _: StoreRequest) -> BoxFuture<'_, Result<StoreAck, PeerError>> {
        Self::unreachable(peer)
    }

    fn peek(&self, peer: &Member, _: PeekRequest) -> BoxFuture<'_, Result<Peeked, PeerError>> {
        Self::unreachable(peer)
    }

    fn beat(&self, peer: &Member, _: BeatRequest) -> BoxFuture<'_, Result<BeatReply, PeerError>> {
        Self::unreachable(peer)
    }

    fn bar(&self, peer: &Member, _: BarRequest) -> BoxFuture<'_, Result<BarAck, PeerError>> {
        Self::unreachable(peer)
    }

    fn fetch_many(
        &self,
        peer: &Member,
        _: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        Self::unreachable(peer)
    }

    fn keys_of(&self, peer: &Member, _: KeysRequest) -> BoxFuture<'_, Result<KeysHeld, PeerError>> {
        Self::unreachable(peer)
    }

    fn peek_many(&self, peer: &Member, _: PeekManyRequest) -> BoxFuture<'_, Result<PeekedMany, PeerError>> {
        Self::unreachable(peer)
    }
}
