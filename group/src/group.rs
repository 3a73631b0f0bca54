//! One group: the order of a Get and of a Remove, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::loader::LoadError;
use crate::stats::{Sizes, Stats};
use crate::value::{Entry, Key};

/// What a group is: limits and times. Bytes and durations; see each field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// 1 to 63 of `[A-Za-z0-9._-]`.
    pub name: Arc<str>,
    /// Other names under which doors know it; any text.
    pub aliases: Vec<String>,
    /// Memory for its entries at this node, main and hot together, in bytes.
    pub max_bytes: u64,
    /// Percent of `max_bytes` for copies of other owners' keys, 0 to 50; 0: none are kept.
    pub hot_percent: u32,
    /// For how long a value may be used; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// For how long "no such key" is kept; `None`: it is not.
    pub negative_ttl: Option<Duration>,
    /// Longest key in bytes.
    pub max_key_bytes: usize,
    /// Largest value in bytes that is kept.
    pub max_value_bytes: usize,
    /// When a load is given up, counted from its start.
    pub load_timeout: Duration,
    /// For how long a purge keeps a key's window open, and how long it may take.
    pub purge_timeout: Duration,
}

/// Who asks: a client's Get may be fetched from the owner, a peer's is answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An application.
    Client,
    /// Another node, which takes us for the owner. Never forwarded.
    Peer,
}

/// Where an answer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This node's main cache.
    Main,
    /// This node's hot cache.
    Hot,
    /// Another node.
    Peer,
    /// The loader, called by this node.
    Loader,
}

/// The answer of a Get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The entry: a value, or "no such key".
    pub entry: Entry,
    /// Where it was found.
    pub source: Source,
    /// False if a peer that asked may not keep a copy.
    pub keep: bool,
}

/// Why a Get gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GetError {
    /// The node knows no membership yet.
    #[error("this node has not been told its membership yet; try another node")]
    NotReady,
    /// The loader failed or is overloaded, here or at the owner. Final.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The caller's time is up.
    #[error("the deadline passed before the key was answered")]
    DeadlineExceeded,
}

/// Why a Remove failed. What it purged stays purged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoveError {
    /// The node knows no membership yet.
    #[error("this node has not been told its membership yet; try another node")]
    NotReady,
    /// Some nodes did not acknowledge; each is named with the reason.
    #[error("not every node acknowledged: {}", .0.iter().map(|f| format!("{}: {}", f.node, f.reason)).collect::<Vec<_>>().join("; "))]
    Partial(Vec<NodeFailure>),
}

/// One node that did not acknowledge a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// The node's name.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// One group at one node. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Group {
    settings: Settings,
}

impl Group {
    /// Answers one key by `deadline`.
    ///
    /// # Errors
    /// See [`GetError`].
    pub async fn get(
        self: &Arc<Self>,
        key: Key,
        origin: Origin,
        deadline: Instant,
    ) -> Result<Answer, GetError> {
        let _ = (key, origin, deadline);
        Err(GetError::NotReady)
    }

    /// Purges keys from every node and answers by `deadline`.
    ///
    /// # Errors
    /// See [`RemoveError`]: it names every node that did not acknowledge.
    pub async fn remove(self: &Arc<Self>, keys: Vec<Key>, deadline: Instant) -> Result<(), RemoveError> {
        let _ = (keys, deadline);
        Err(RemoveError::NotReady)
    }

    /// Drops keys at this node and opens their windows: what a peer's purge does here.
    pub fn purge(&self, keys: &[Key], window: Duration) {
        let _ = (keys, window);
    }

    /// What this group is.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        Arc::new(self.settings.clone())
    }

    /// What it has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// What it holds.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes::default()
    }
}
