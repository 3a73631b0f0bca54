//! Set: purges the key everywhere as a Remove does, then stores the value at its owner.
//!
//! A value that could not be stored within one window of its Set is not stored at all: whoever changed the source meanwhile, and removed the key, must
//! not find it again.
//!
//! The purge at the owner answers the generation that it has raised the key to, and the value is stored only if that one still stands there: a Remove
//! or Set that came between is later than this one and stays. So a value that is late, however late, never comes back over a newer purge.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::expiry::{after, expires};
use crate::group::Group;
use crate::group::remove::NodeFailure;
use crate::group::remove::RemoveError;
use crate::peer::{PeerError, Purged, StoreRequest};
use crate::stats::Count;
use crate::value::{Entry, Key, Outcome};
use crate::view::Place;

/// Why a Set failed. What it purged stays purged: the next Get answers what the loader says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SetError {
    /// The value is over the group's limit.
    #[error("the value is {bytes} bytes long; a value of this group is at most {limit} bytes")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The group's limit.
        limit: usize,
    },
    /// A node could not be told.
    #[error(transparent)]
    Remove(#[from] RemoveError),
}

impl Group {
    /// Stores a value in the cache, everywhere in place of the former one, and answers by `deadline`. `ttl`: the group's, if that is shorter.
    ///
    /// The source stays the truth: after eviction a Get answers what the loader says. It runs on if the caller goes away.
    ///
    /// # Errors
    /// See [`SetError`].
    pub async fn set(
        self: &Arc<Self>,
        key: Key,
        value: Bytes,
        ttl: Option<Duration>,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Result<(), SetError> {
        let limit = self.settings().max_value_bytes;
        if value.len() > limit {
            return Err(SetError::TooLarge { bytes: value.len(), limit });
        }
        let called = self.grants.clock().now();
        let entry = self.entry_of(&key, value, ttl, source_version);
        let group = self.clone();
        let task = tokio::spawn(async move {
            let result = group.set_everywhere(key, entry, called, deadline).await;
            group.counters.add(if result.is_ok() { Count::Sets } else { Count::SetsFailed });
            result
        });
        Ok(task.await.unwrap_or_else(|_| Err(self.broke_off()))?)
    }

    fn entry_of(&self, key: &Key, value: Bytes, ttl: Option<Duration>, source_version: Option<u64>) -> Entry {
        let now = self.grants.clock().now();
        let hash = self.hasher.hash_one(key);
        let expires = expires(now, [self.settings().ttl, ttl, None], hash);
        Entry { outcome: Outcome::Value(value), loaded: now, expires, source_version }
    }

    async fn set_everywhere(
        self: &Arc<Self>,
        key: Key,
        entry: Entry,
        called: Instant,
        deadline: Instant,
    ) -> Result<(), RemoveError> {
        let what = Purged::Keys(Arc::from([key.clone()]));
        let version = entry.source_version;
        let mut removal = self.begin(what, version, deadline)?;
        removal.coordinate().await?;
        // A second round, a wait for a place or a machine that slept: the value is older than Removes that its own last purge came after.
        if self.grants.clock().now() >= after(called, self.settings().purge_timeout) {
            return Ok(());
        }
        let view = removal.view().clone();
        let failed = |node: &str, reason: String| {
            Err(RemoveError::Partial(vec![NodeFailure { node: node.to_owned(), reason }]))
        };
        match view.owner(key.as_bytes()) {
            // Nobody owns anything yet, so nobody keeps anything.
            None => Ok(()),
            Some(Place::Me) => {
                if let Some(generation) = removal.generation_at(view.me()) {
                    self.store(&key, &entry, generation);
                }
                Ok(())
            }
            Some(Place::Peer(owner)) => {
                let Some(generation) = removal.generation_at(&owner.name) else {
                    return failed(&owner.name, "it owns the key and could not be told the value".to_owned());
                };
                let request = StoreRequest {
                    group: self.name.clone(),
                    key,
                    entry,
                    generation,
                    version: view.version(),
                    deadline,
                };
                let stored = timeout_at(deadline, self.peers.store(owner, request)).await;
                match stored.unwrap_or(Err(PeerError::DeadlineExceeded)) {
                    // Stored, or a later Remove or Set stands: then that one has the last word, as it should.
                    Ok(_) => Ok(()),
                    Err(error) => {
                        failed(&owner.name, format!("the key is purged, the value is not stored: {error}"))
                    }
                }
            }
        }
    }
}
