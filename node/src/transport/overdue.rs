//! Calls that are never sent whole: no handler has begun them, so they are ended here by their deadline.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use groupcache_group::group::GetError;
use http::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::transport::calls::{self, CallError};
use crate::transport::http::is_grpc;
use crate::transport::http::problem::failed;
use crate::transport::wire::status;

/// How much later than a handler's own answer this one comes.
const SLACK: Duration = Duration::from_millis(25);

/// The time that a gRPC call is given, as its metadata say it.
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The answer of whoever serves the request, or that its deadline passed. A stream has until then to begin.
pub(crate) async fn answer(router: Router, request: Request<Body>) -> Response<Body> {
    let grpc = is_grpc(request.headers());
    let deadline = match deadline_of(request.headers()) {
        Ok(deadline) => deadline,
        Err(error) => return refused(grpc, &error),
    };
    match timeout_at(deadline + SLACK, tower::ServiceExt::oneshot(router, request)).await {
        Ok(Ok(response)) => response,
        Err(_) => passed(grpc),
    }
}

/// The answer to a call whose deadline has passed.
pub(crate) fn passed(grpc: bool) -> Response<Body> {
    refused(grpc, &GetError::DeadlineExceeded.into())
}

fn refused(grpc: bool, error: &CallError) -> Response<Body> {
    if grpc { status(error).into_http() } else { failed(error) }
}

/// The moment a gRPC call must be answered by.
///
/// # Errors
/// If its time is none.
pub(crate) fn deadline_of(headers: &http::HeaderMap) -> Result<Instant, CallError> {
    let Some(said) = headers.get(GRPC_TIMEOUT) else { return Ok(calls::deadline(None)) };
    match said.to_str().ok().and_then(grpc_timeout) {
        Some(wish) => Ok(calls::deadline(Some(wish))),
        None => Err(CallError::Invalid(format!(
            "the {GRPC_TIMEOUT} {said:?} is no time; write up to eight digits and one of H, M, S, m, u, n"
        ))),
    }
}

/// The same, for a handler: what is wrong was refused before.
///
/// # Errors
/// If its time is none.
pub(crate) fn deadline_in(metadata: &tonic::metadata::MetadataMap) -> Result<Instant, Status> {
    deadline_of(metadata.as_ref()).map_err(|error| status(&error))
}

/// The time of a `grpc-timeout`: at most eight digits and a unit.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_timeout_is_digits_and_a_unit() {
        assert_eq!(grpc_timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(grpc_timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in ["", "m", "1", "123456789S", "-1S", "1.5S", "1é", "1 S"] {
            assert_eq!(grpc_timeout(wrong), None, "{wrong}");
        }
    }
}
