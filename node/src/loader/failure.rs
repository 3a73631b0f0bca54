//! How a loader's failure is said: its name before what happened, and a gRPC code.

use std::sync::Arc;

use groupcache_group::loader::LoadError;

/// gRPC's number for a deadline that passed.
pub(crate) const DEADLINE_EXCEEDED: i32 = 4;
/// gRPC's number for "try again".
pub(crate) const UNAVAILABLE: i32 = 14;
/// gRPC's number for a failure of which no more is known.
pub(crate) const UNKNOWN: i32 = 2;

/// A failure of the loader called `name`.
pub(crate) fn failed(name: &str, code: i32, what: impl std::fmt::Display) -> LoadError {
    LoadError::Failed { code, message: Arc::from(format!("loader {name}: {what}")) }
}
