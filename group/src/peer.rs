//! The seam to the other nodes: fetch a key from its owner, purge keys everywhere.

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

    /// Asks `peer` for several keys as their owner, in one call. It answers before `request.deadline`, or as soon as the peer shows no sign of life.
    fn fetch_many(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>>;
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

/// What is to be purged.
#[derive(Clone, Debug)]
pub struct PurgeRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The keys.
    pub keys: Arc<[Key]>,
    /// For how long the keys' windows stay open at the receiver.
    pub window: Duration,
    /// The version the asker has adopted.
    pub version: Version,
    /// When the asker no longer waits.
    pub deadline: Instant,
}

/// A peer has purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeAck {
    /// The version it has adopted.
    pub version: Version,
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

    fn fetch_many(
        &self,
        peer: &Member,
        _: FetchManyRequest,
    ) -> BoxFuture<'_, Result<FetchedMany, PeerError>> {
        Self::unreachable(peer)
    }
}
