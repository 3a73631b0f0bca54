//! Why a call gave nothing: one variant per reaction of the caller.

use groupcache_proto::cache::PartialDetail;
use prost::Message;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::target::AddressError;
use crate::tls::TlsError;

/// Why there is no client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// An address is malformed.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// TLS cannot be spoken as it is asked for.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No node could be reached in time; with what was met last.
    #[error("no cache node could be reached: {0}")]
    NoNode(String),
}

/// Why a Get gave neither a value nor "no such key".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GetError {
    /// No node answered, the retry included. A later try makes sense.
    #[error("no cache node answered: {0}")]
    Unavailable(String),
    /// The deadline passed.
    #[error("the deadline passed before the key was answered")]
    DeadlineExceeded,
    /// Loads are over a bound. A later try makes sense.
    #[error("the cache is overloaded: {0}")]
    Overloaded(String),
    /// The cluster has no such group: the configuration or the name is wrong.
    #[error("{0}")]
    UnknownGroup(String),
    /// The key or the group's name is over a limit: the call is wrong.
    #[error("{0}")]
    InvalidArgument(String),
    /// The nodes know no token of this client's, or it allows something else: the configuration is wrong.
    #[error("{0}")]
    NotAllowed(String),
    /// The loader failed, or something else that only its text explains.
    #[error("{message} ({code:?})")]
    Failed {
        /// The gRPC status code.
        code: Code,
        /// What the node or the loader said.
        message: String,
    },
}

/// Why a Remove, Set or Flush did not succeed. What it purged stays purged; try again until it succeeds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoveError {
    /// Some nodes did not acknowledge and may serve the old value yet.
    #[error("not every node has removed the old value: {}", .0.iter().map(|node| format!("{}: {}", node.node, node.reason)).collect::<Vec<_>>().join("; "))]
    Partial(Vec<NodeFailure>),
    /// It failed as a Get would have.
    #[error(transparent)]
    Call(GetError),
}

/// A node that did not acknowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// The node's name.
    pub node: String,
    /// Why.
    pub reason: String,
}

/// How a call ended without an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A node said so.
    Status(Status),
    /// The connection broke, or there was none.
    Lost(String),
    /// The time is up.
    Deadline,
}

impl Failure {
    /// True if another node may do better.
    pub(crate) fn is_unavailable(&self) -> bool {
        match self {
            Failure::Status(status) => status.code() == Code::Unavailable && !is_of_the_loader(status),
            Failure::Lost(_) => true,
            Failure::Deadline => false,
        }
    }
}

impl From<Failure> for GetError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Status(status) if is_of_the_loader(&status) => {
                GetError::Failed { code: status.code(), message: status.message().to_owned() }
            }
            Failure::Status(status) => GetError::from_code(status.code(), status.message().to_owned()),
            Failure::Lost(reason) => GetError::Unavailable(reason),
            Failure::Deadline => GetError::DeadlineExceeded,
        }
    }
}

impl GetError {
    pub(crate) fn from_code(code: Code, message: String) -> Self {
        match code {
            Code::Unavailable => GetError::Unavailable(message),
            Code::DeadlineExceeded => GetError::DeadlineExceeded,
            Code::ResourceExhausted => GetError::Overloaded(message),
            Code::FailedPrecondition => GetError::UnknownGroup(message),
            Code::InvalidArgument => GetError::InvalidArgument(message),
            Code::Unauthenticated | Code::PermissionDenied => GetError::NotAllowed(message),
            code => GetError::Failed { code, message },
        }
    }

    /// The variant as a word, for counters and machines.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            GetError::Unavailable(_) => "unavailable",
            GetError::DeadlineExceeded => "deadline_exceeded",
            GetError::Overloaded(_) => "overloaded",
            GetError::UnknownGroup(_) => "unknown_group",
            GetError::InvalidArgument(_) => "invalid_argument",
            GetError::NotAllowed(_) => "not_allowed",
            GetError::Failed { .. } => "failed",
        }
    }
}

impl From<Failure> for RemoveError {
    fn from(failure: Failure) -> Self {
        if let Failure::Status(status) = &failure
            && let Some(partial) = partial(status.details())
        {
            return RemoveError::Partial(partial);
        }
        RemoveError::Call(failure.into())
    }
}

/// True if a node only passes on what the loader said: final, whatever the code, and the same at every other node.
pub(crate) fn is_of_the_loader(status: &Status) -> bool {
    let info = status.get_details_error_info();
    info.is_some_and(|info| info.reason == "LOADER_FAILED" && info.domain == "groupcache.dev")
}

/// The nodes named in a status' details: a `google.rpc.Status` that holds a [`PartialDetail`].
fn partial(details: &[u8]) -> Option<Vec<NodeFailure>> {
    let status = tonic_types::pb::Status::decode(details).ok()?;
    let detail = status.details.iter().find(|any| any.type_url.ends_with("/groupcache.v1.PartialDetail"))?;
    let detail = PartialDetail::decode(detail.value.as_slice()).ok()?;
    let failures = detail.failures.into_iter();
    Some(failures.map(|failure| NodeFailure { node: failure.node, reason: failure.reason }).collect())
}

#[cfg(test)]
mod tests;
