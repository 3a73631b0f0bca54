//! The seam to the source of truth: asked once per missing key however many wait, for one key or for several.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use thiserror::Error;
use tokio::time::Instant;

use crate::value::{Key, Outcome};

/// Answers the value of a key that no node holds. An application that embeds the library gives a closure.
pub trait Loader: Send + Sync + 'static {
    /// The loader's name, for errors and metrics.
    fn name(&self) -> &str;

    /// Waits until the load may be sent. The load counts as queued until then: it is given up with its last waiter, and nothing was asked of the source.
    /// A loader that bounds what it sends at a time waits here; one without a bound leaves it as it is. Dropped at `request.deadline`.
    fn admit<'a>(&'a self, request: &'a LoadRequest) -> BoxFuture<'a, Result<Turn, LoadError>> {
        let _ = request;
        Box::pin(std::future::ready(Ok(Turn::free())))
    }

    /// Asks the source. The answer is wanted before `request.deadline`; the caller drops the future then.
    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>>;

    /// Most keys that one call of [`Loader::load_many`] may ask for; 1: the loader has no such call.
    fn most_keys(&self) -> usize {
        1
    }

    /// Asks the source for several keys in one go; one result per key, in that order. An error of the whole call means that nothing is known of any key.
    /// Like [`Loader::load`] it is wanted before `request.deadline` and dropped then. One turn of [`Loader::admit`] covers the whole call.
    fn load_many(
        &self,
        request: LoadManyRequest,
    ) -> BoxFuture<'_, Result<Vec<Result<Loaded, LoadError>>, LoadError>> {
        let message = format!(
            "loader {} answers one key a call, and was asked for {} in group {}; ask for most_keys at most",
            self.name(),
            request.keys.len(),
            request.group
        );
        Box::pin(std::future::ready(Err(LoadError::Failed { code: UNIMPLEMENTED, message: message.into() })))
    }
}

/// gRPC's code for a call that the other side does not have.
const UNIMPLEMENTED: i32 = 12;

/// A load's place among those that may be sent; held until the load has ended.
pub struct Turn {
    _place: Option<Box<dyn Send>>,
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").finish_non_exhaustive()
    }
}

impl Turn {
    /// A turn where places are not counted.
    #[must_use]
    pub fn free() -> Self {
        Turn { _place: None }
    }

    /// A turn that gives `place` back when the load has ended: a permit, for instance.
    #[must_use]
    pub fn holding(place: impl Send + 'static) -> Self {
        Turn { _place: Some(Box::new(place)) }
    }
}

/// What is asked of a loader.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The key.
    pub key: Key,
    /// When the load is given up.
    pub deadline: Instant,
}

/// What is asked of a loader that answers several keys in one call.
#[derive(Clone, Debug)]
pub struct LoadManyRequest {
    /// The group's name.
    pub group: Arc<str>,
    /// The keys: no more than the loader's [`Loader::most_keys`], none twice.
    pub keys: Vec<Key>,
    /// When the whole call is given up.
    pub deadline: Instant,
}

/// What the source said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The value, or that there is none.
    pub outcome: Outcome,
    /// For how long it may be kept; the group's ttl if that is shorter. `None`: the loader does not say. Zero: answered, not kept.
    pub ttl: Option<Duration>,
    /// The source's own version of it.
    pub version: Option<u64>,
}

impl Loaded {
    /// A value of which the loader says no more.
    #[must_use]
    pub fn value(bytes: impl Into<bytes::Bytes>) -> Self {
        Loaded { outcome: Outcome::Value(bytes.into()), ttl: None, version: None }
    }

    /// "No such key".
    #[must_use]
    pub fn not_found() -> Self {
        Loaded { outcome: Outcome::NotFound, ttl: None, version: None }
    }
}

/// Why a load gave nothing. One variant per reaction; cheap to clone, because every waiter gets it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LoadError {
    /// The source failed; final for the Gets that wait, nothing is kept.
    #[error("{message}")]
    Failed {
        /// The gRPC status code that says it best.
        code: i32,
        /// The loader's name and what it said.
        message: Arc<str>,
    },
    /// No load was started: a bound was met. A new try makes sense later.
    #[error("{message}")]
    Overloaded {
        /// Which bound of which loader was met.
        message: Arc<str>,
        /// When a new try makes sense.
        retry_after: Duration,
    },
}

/// A loader made of a name and an async closure.
pub struct FnLoader<F> {
    name: String,
    load: F,
}

impl<F> std::fmt::Debug for FnLoader<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FnLoader").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<F, R> FnLoader<F>
where
    F: Fn(LoadRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Loaded, LoadError>> + Send + 'static,
{
    /// A loader that calls `load`.
    pub fn new(name: impl Into<String>, load: F) -> Self {
        FnLoader { name: name.into(), load }
    }
}

impl<F, R> Loader for FnLoader<F>
where
    F: Fn(LoadRequest) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Loaded, LoadError>> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin((self.load)(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_loader_without_a_call_for_several_keys_says_so() {
        let one = FnLoader::new("one", |_: LoadRequest| async { Ok(Loaded::not_found()) });
        assert_eq!(one.most_keys(), 1);
        let keys = vec![Key::new("a", 10).unwrap(), Key::new("b", 10).unwrap()];
        let request = LoadManyRequest { group: "users".into(), keys, deadline: Instant::now() };
        let Err(LoadError::Failed { code, message }) = one.load_many(request).await else {
            panic!("it answered");
        };
        assert_eq!(code, UNIMPLEMENTED);
        assert!(
            message.contains("loader one answers one key a call, and was asked for 2 in group users"),
            "{message}"
        );
    }
}
