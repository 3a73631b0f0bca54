//! One table: our words to messages and statuses, and back.

use std::time::Duration;

use bytes::Bytes;
use groupcache_group::group::{Answer, GetError, Source};
use groupcache_group::loader::LoadError;
use groupcache_group::peer::{FetchOutcome, Fetched};
use groupcache_group::value::{Entry, Outcome};
use groupcache_proto::cache::{self, get_response, key_result};
use groupcache_proto::cluster::{self, fetch_response};
use groupcache_proto::convert;
use groupcache_ring::Version;
use http::StatusCode;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::access::Denied;
use crate::transport::calls::CallError;

/// In every status of ours, so that a program can tell one reason from another.
const DOMAIN: &str = "groupcache.dev";

/// The type of a [`cache::PartialDetail`] in a status.
const PARTIAL_TYPE: &str = "type.googleapis.com/groupcache.v1.PartialDetail";

/// The type of an `ErrorInfo` in a status.
const INFO_TYPE: &str = "type.googleapis.com/google.rpc.ErrorInfo";

/// How a failure is said: in gRPC, and in HTTP.
pub struct Words {
    /// The gRPC code.
    pub code: Code,
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable last part of the problem's type, and of the gRPC reason.
    pub kind: &'static str,
    /// A headline.
    pub title: &'static str,
}

/// The table of failures.
#[must_use]
pub fn words(error: &CallError) -> Words {
    let (code, status, kind, title) = match error {
        CallError::Key(_) => (Code::InvalidArgument, 400, "bad-key", "The key cannot be one"),
        CallError::Invalid(_) => (Code::InvalidArgument, 400, "bad-request", "The request cannot be right"),
        CallError::Denied(Denied::NotAllowed { .. }) => {
            (Code::PermissionDenied, 403, "not-allowed", "The token does not allow this")
        }
        CallError::Denied(_) => {
            (Code::Unauthenticated, 401, "unauthenticated", "No token that is known here")
        }
        CallError::UnknownGroup(_) => {
            (Code::FailedPrecondition, 400, "unknown-group", "There is no such group")
        }
        CallError::NotServed(_) => (Code::Unimplemented, 501, "not-served", "Not served by this release"),
        CallError::Partial(_) => (Code::Unavailable, 503, "partial", "Not every node acknowledged"),
        CallError::ValueTooLarge { .. } => {
            (Code::InvalidArgument, 413, "value-too-large", "The value is too large")
        }
        CallError::NoRoom(_) => (Code::ResourceExhausted, 503, "no-room", "No room for this request now"),
        CallError::Encoded(_) => (Code::InvalidArgument, 415, "encoded", "An encoded value"),
        CallError::TooLarge => (Code::ResourceExhausted, 413, "too-large", "The answer would be too large"),
        CallError::Get(GetError::NotReady) => {
            (Code::Unavailable, 503, "not-ready", "This node has no membership yet")
        }
        CallError::Get(GetError::DeadlineExceeded) => {
            (Code::DeadlineExceeded, 504, "deadline", "The deadline passed")
        }
        CallError::Get(GetError::Load(LoadError::Overloaded { .. })) => {
            (Code::ResourceExhausted, 503, "overloaded", "Too many loads")
        }
        CallError::Get(GetError::Load(LoadError::Failed { code, .. })) => {
            (Code::from(*code), 502, "loader-failed", "The loader failed")
        }
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Words { code, status, kind, title }
}

/// When there may be room again: requests are read in less, if their clients send.
const ROOM_AGAIN: Duration = Duration::from_secs(1);

/// When a new try makes sense, if that is known.
#[must_use]
pub fn retry_after(error: &CallError) -> Option<Duration> {
    match error {
        CallError::Get(GetError::Load(LoadError::Overloaded { retry_after, .. })) => Some(*retry_after),
        CallError::NoRoom(_) => Some(ROOM_AGAIN),
        _ => None,
    }
}

/// A failure as a gRPC status, with its reason and what else a program wants to know.
#[must_use]
pub fn status(error: &CallError) -> Status {
    let words = words(error);
    if let CallError::Partial(failures) = error {
        return partial_status(&words, error, failures);
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason(&words), DOMAIN, std::collections::HashMap::new());
    if let Some(after) = retry_after(error) {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(words.code, error.to_string(), details)
}

/// The kind of a failure as gRPC's tools expect a reason to look.
fn reason(words: &Words) -> String {
    words.kind.replace('-', "_").to_uppercase()
}

fn partial_status(
    words: &Words,
    error: &CallError,
    failures: &[groupcache_group::group::NodeFailure],
) -> Status {
    let failures = failures
        .iter()
        .map(|f| cache::NodeFailure { node: f.node.clone(), reason: f.reason.clone() })
        .collect();
    let nodes = cache::PartialDetail { failures }.encode_to_vec();
    let info =
        tonic_types::pb::ErrorInfo { reason: reason(words), domain: DOMAIN.into(), ..Default::default() };
    let details = [(PARTIAL_TYPE, nodes), (INFO_TYPE, info.encode_to_vec())];
    let details = details.map(|(url, value)| prost_types::Any { type_url: url.to_owned(), value });
    let message = error.to_string();
    let rich =
        tonic_types::Status { code: words.code.into(), message: message.clone(), details: details.into() };
    Status::with_details(words.code, message, Bytes::from(rich.encode_to_vec()))
}

/// A failure as data.
#[must_use]
pub fn failure(error: &CallError) -> cache::Failure {
    cache::Failure { code: words(error).code.into(), message: error.to_string() }
}

/// An answer to an application.
#[must_use]
pub fn get_response(answer: &Answer) -> cache::GetResponse {
    let now = Instant::now();
    let entry = &answer.entry;
    let source = match answer.source {
        Source::Main => cache::Source::Main,
        Source::Hot => cache::Source::Hot,
        Source::Peer => cache::Source::Peer,
        Source::Loader => cache::Source::Loader,
        Source::Stale => cache::Source::Stale,
    };
    cache::GetResponse {
        ttl_remaining_ms: entry.remaining(now).map(millis),
        age_ms: millis(now.saturating_duration_since(entry.loaded)),
        source: source.into(),
        source_version: entry.source_version,
        outcome: Some(match &entry.outcome {
            Outcome::Value(value) => get_response::Outcome::Value(value.clone()),
            Outcome::NotFound => get_response::Outcome::NotFound(cache::NotFound {}),
        }),
    }
}

/// The answer for one of several keys.
#[must_use]
pub fn key_result(result: Result<Answer, CallError>) -> cache::KeyResult {
    let result = match result {
        Ok(answer) => key_result::Result::Response(get_response(&answer)),
        Err(error) => key_result::Result::Failure(failure(&error)),
    };
    cache::KeyResult { result: Some(result) }
}

/// An owner's answer to another node; `Err` only where there is nothing to say but a status.
///
/// # Errors
/// If the deadline passed, or the call itself was wrong.
pub fn fetch_response(
    version: Version,
    result: Result<Answer, CallError>,
) -> Result<cluster::FetchResponse, Status> {
    let outcome = match result {
        Ok(answer) => fetch_outcome(&answer),
        Err(CallError::UnknownGroup(_)) => fetch_response::Outcome::UnknownGroup(cluster::UnknownGroup {}),
        Err(CallError::Get(GetError::Load(LoadError::Failed { code, message }))) => {
            fetch_response::Outcome::LoaderError(cluster::LoaderError { code, message: message.to_string() })
        }
        Err(CallError::Get(GetError::Load(LoadError::Overloaded { message, retry_after }))) => {
            fetch_response::Outcome::Overloaded(cluster::Overloaded {
                message: message.to_string(),
                retry_after_ms: millis(retry_after),
            })
        }
        Err(error) => return Err(status(&error)),
    };
    Ok(cluster::FetchResponse { version: Some(convert::version_to_wire(version)), outcome: Some(outcome) })
}

fn fetch_outcome(answer: &Answer) -> fetch_response::Outcome {
    let now = Instant::now();
    let ttl_remaining_ms = answer.entry.remaining(now).map(millis);
    match &answer.entry.outcome {
        Outcome::NotFound => {
            let ttl_remaining_ms = if answer.keep { ttl_remaining_ms } else { None };
            fetch_response::Outcome::NotFound(cluster::NotFound { ttl_remaining_ms })
        }
        Outcome::Value(_) => {
            let entry = entry_to_wire(&answer.entry, now);
            if answer.keep {
                fetch_response::Outcome::Value(entry)
            } else {
                fetch_response::Outcome::OversizeValue(entry)
            }
        }
    }
}

/// An entry for another node; "no such key" has no value there.
#[must_use]
pub fn entry_to_wire(entry: &Entry, now: Instant) -> cluster::Entry {
    let value = match &entry.outcome {
        Outcome::Value(value) => value.clone(),
        Outcome::NotFound => Bytes::new(),
    };
    cluster::Entry {
        value,
        ttl_remaining_ms: entry.remaining(now).map(millis),
        age_ms: millis(now.saturating_duration_since(entry.loaded)),
        source_version: entry.source_version,
    }
}

/// What an owner said; `None`: a sign of life, and the answer is still to come.
#[must_use]
pub fn fetched(wire: cluster::FetchResponse) -> Option<Fetched> {
    use fetch_response::Outcome as Said;
    let version = convert::version(wire.version.as_ref());
    let outcome = match wire.outcome {
        None | Some(Said::Pending(_)) => return None,
        Some(Said::Value(entry)) => FetchOutcome::Entry { entry: entry_from_wire(entry), keep: true },
        Some(Said::OversizeValue(entry)) => {
            FetchOutcome::Entry { entry: entry_from_wire(entry), keep: false }
        }
        Some(Said::NotFound(absent)) => {
            let now = Instant::now();
            let expires = absent.ttl_remaining_ms.map(|ms| later(now, ms));
            let entry = Entry { outcome: Outcome::NotFound, loaded: now, expires, source_version: None };
            FetchOutcome::Entry { entry, keep: absent.ttl_remaining_ms.is_some() }
        }
        Some(Said::LoaderError(error)) => {
            FetchOutcome::LoadError(LoadError::Failed { code: error.code, message: error.message.into() })
        }
        Some(Said::Overloaded(overloaded)) => FetchOutcome::LoadError(LoadError::Overloaded {
            message: overloaded.message.into(),
            retry_after: Duration::from_millis(overloaded.retry_after_ms),
        }),
        Some(Said::UnknownGroup(_)) => FetchOutcome::UnknownGroup,
    };
    Some(Fetched { version, outcome })
}

/// An entry from another node, its times turned into this node's.
#[must_use]
pub fn entry_from_wire(wire: cluster::Entry) -> Entry {
    let now = Instant::now();
    Entry {
        outcome: Outcome::Value(wire.value),
        loaded: now.checked_sub(Duration::from_millis(wire.age_ms)).unwrap_or(now),
        expires: wire.ttl_remaining_ms.map(|ms| later(now, ms)),
        source_version: wire.source_version,
    }
}

/// Later by that much, and never beyond what a clock can say.
fn later(now: Instant, ms: u64) -> Instant {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
    now + Duration::from_millis(ms).min(LONGEST)
}

/// Whole milliseconds.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
