//! How a loader's failure is said: its name before what happened, and a gRPC code.

use std::sync::Arc;

use groupcache_group::loader::LoadError;

/// gRPC's number for a failure of which no more is known.
pub(crate) const UNKNOWN: i32 = 2;
/// gRPC's number for a request that can never be right.
pub(crate) const INVALID_ARGUMENT: i32 = 3;
/// gRPC's number for a deadline that passed.
pub(crate) const DEADLINE_EXCEEDED: i32 = 4;
/// gRPC's number for "too much".
pub(crate) const RESOURCE_EXHAUSTED: i32 = 8;
/// gRPC's number for more than may be read.
pub(crate) const OUT_OF_RANGE: i32 = 11;
/// gRPC's number for a call that there is not.
pub(crate) const UNIMPLEMENTED: i32 = 12;
/// gRPC's number for "try again".
pub(crate) const UNAVAILABLE: i32 = 14;

/// A failure of the loader called `name`.
pub(crate) fn failed(name: &str, code: i32, what: impl std::fmt::Display) -> LoadError {
    LoadError::Failed { code, message: Arc::from(format!("loader {name}: {what}")) }
}
