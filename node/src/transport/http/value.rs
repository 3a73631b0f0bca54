//! The body of a PUT: read to its end within the group's limit, with a place in the budget of requests.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use groupcache_group::group::GetError;
use http::header::EXPECT;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::transport::calls::CallError;
use crate::transport::incoming::Place;

/// Of a body that is refused so much is read and dropped: most clients read no answer before they have sent all, and an end of the connection
/// would be all that they see.
const MAX_DROPPED_BYTES: usize = 16 << 20;

/// How long that may take: who sends slowly gets its answer sooner than it is done.
const DROPPING: Duration = Duration::from_secs(3);

/// Reads a value of at most `limit` bytes, by `deadline`.
pub(super) async fn read(
    head: &Parts,
    mut body: Body,
    limit: usize,
    place: &mut Place,
    deadline: Instant,
) -> Result<Bytes, CallError> {
    let read = timeout_at(deadline, whole(&mut body, limit, place)).await;
    let result = read.unwrap_or(Err(GetError::DeadlineExceeded.into()));
    if matches!(result, Err(CallError::ValueTooLarge { .. } | CallError::NoRoom(_))) {
        drain(head, &mut body, deadline).await;
    }
    result
}

async fn whole(body: &mut Body, limit: usize, place: &mut Place) -> Result<Bytes, CallError> {
    let declared = body.size_hint().exact().unwrap_or_default();
    if declared > limit as u64 {
        return Err(CallError::ValueTooLarge { bytes: Some(declared), limit });
    }
    // All of it at once where its length is known: two bodies that each have room for half would wait for each other.
    place.holds(declared)?;
    let mut value = Vec::with_capacity(usize::try_from(declared).unwrap_or_default());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| CallError::Invalid(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if value.len() + data.len() > limit {
            return Err(CallError::ValueTooLarge { bytes: None, limit });
        }
        // A buffer that grows is twice as large as what is in it.
        place.holds((value.len() + data.len()).max(value.capacity()) as u64)?;
        value.extend_from_slice(&data);
    }
    Ok(Bytes::from(value))
}

/// Reads on for a client that is in the middle of its sending. One that waits to be told to begin is told no.
pub(super) async fn drain(head: &Parts, body: &mut Body, deadline: Instant) {
    if head.headers.contains_key(EXPECT) {
        return;
    }
    let dropped = async {
        let mut dropped = 0;
        while dropped < MAX_DROPPED_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            dropped += frame.data_ref().map_or(0, Bytes::len);
        }
    };
    // Whoever has not sent it by then gets its answer all the same.
    timeout_at(deadline.min(Instant::now() + DROPPING), dropped).await.ok();
}
