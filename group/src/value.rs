//! Keys and values: what is asked for, what is answered, and until when it may be used.

use std::borrow::Borrow;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::time::Instant;

/// A key: 1 byte to the group's limit. Any bytes; a text key is its UTF-8.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Bytes);

/// Why some bytes are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// No byte at all.
    #[error("the key is empty; a key is 1 to {limit} bytes")]
    Empty {
        /// The group's limit in bytes.
        limit: usize,
    },
    /// More bytes than the group allows.
    #[error("the key is {len} bytes long; a key of this group is 1 to {limit} bytes")]
    TooLong {
        /// The key's length in bytes.
        len: usize,
        /// The group's limit in bytes.
        limit: usize,
    },
}

impl Key {
    /// A key of at most `limit` bytes.
    ///
    /// # Errors
    /// If it is empty or too long.
    pub fn new(bytes: impl Into<Bytes>, limit: usize) -> Result<Self, KeyError> {
        let bytes = bytes.into();
        match bytes.len() {
            0 => Err(KeyError::Empty { limit }),
            len if len > limit => Err(KeyError::TooLong { len, limit }),
            _ => Ok(Key(bytes)),
        }
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key's bytes, shared.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        self.0.clone()
    }

    /// The same key in a buffer of its own length: what is kept must not pin the message it came in.
    pub(crate) fn compact(&self) -> Self {
        Key(Bytes::copy_from_slice(&self.0))
    }
}

/// A key is found by its bytes, without making a key of them.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Keys may be secrets or binary: logs get them escaped and cut.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 64;
        let shown = &self.0[..self.0.len().min(SHOWN)];
        write!(f, "\"{}\"{}", shown.escape_ascii(), if self.0.len() > SHOWN { "…" } else { "" })
    }
}

/// What the source said about a key: a value, or that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value; may be empty.
    Value(Bytes),
    /// There is no such key.
    NotFound,
}

/// An outcome with what is known of it: what caches hold and Gets answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the source said.
    pub outcome: Outcome,
    /// When its load started.
    pub loaded: Instant,
    /// Until when it may be used; `None`: it does not expire. An entry whose time is past is not a hit.
    pub expires: Option<Instant>,
    /// The source's own version of it, if the loader states one.
    pub source_version: Option<u64>,
}

impl Entry {
    /// True if it may not be used any more.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// For how long it may still be used; `None`: it does not expire.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Option<Duration> {
        self.expires.map(|at| at.saturating_duration_since(now))
    }

    /// The same entry with its value in a buffer of its own length, as [`Key::compact`].
    pub(crate) fn compact(&self) -> Self {
        let outcome = match &self.outcome {
            Outcome::Value(bytes) => Outcome::Value(Bytes::copy_from_slice(bytes)),
            Outcome::NotFound => Outcome::NotFound,
        };
        Entry { outcome, ..*self }
    }

    /// Bytes of the value; 0 for "no such key".
    #[must_use]
    pub fn value_bytes(&self) -> usize {
        match &self.outcome {
            Outcome::Value(bytes) => bytes.len(),
            Outcome::NotFound => 0,
        }
    }
}
