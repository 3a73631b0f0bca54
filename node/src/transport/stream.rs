//! Many calls over one stream: answers come as they are ready, and a slow reader holds back what is read.

use std::time::Duration;

use futures::{Stream, StreamExt};
use groupcache_group::group::GetError;
use groupcache_proto::cache::{self as wire, stream_request::Call, stream_response::Answer};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::access::Caller;
use crate::transport::calls::{self, CallError, Calls};
use crate::transport::outgoing::{Carried, OutOfRoom, Place, Unsent};
use crate::transport::wire::{failure, get_response, key_result};

/// Calls of one stream under way; the next is read when one of them has been answered.
const CALLS_AT_ONCE: usize = 256;

/// Whose stream it is, and who answers. What it may do is asked anew for each of its calls.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) calls: Calls,
    pub(crate) caller: Option<Caller>,
}

/// The answers to the calls of a stream, until it ends or breaks.
pub(crate) fn answers(
    asker: Asker,
    requests: Streaming<wire::StreamRequest>,
    unsent: Unsent,
    carried: Carried,
) -> impl Stream<Item = Result<wire::StreamResponse, Status>> + Send {
    requests
        // A broken stream has nobody left to tell.
        .take_while(|request| std::future::ready(request.is_ok()))
        .filter_map(|request| std::future::ready(request.ok()))
        .map(move |request| placed(asker.clone(), unsent.clone(), request))
        .buffer_unordered(CALLS_AT_ONCE)
        .map(move |(response, place)| {
            carried.add(place);
            Ok(response)
        })
}

/// The answer to one call, once there is room for it: nothing of it is written before.
async fn placed(
    asker: Asker,
    unsent: Unsent,
    request: wire::StreamRequest,
) -> (wire::StreamResponse, Option<Place>) {
    let id = request.id;
    let wish = (request.deadline_ms > 0).then(|| Duration::from_millis(request.deadline_ms));
    let deadline = calls::deadline(wish);
    let (answer, bytes) = answer(&asker, request, deadline).await;
    let (answer, place) = match unsent.place(bytes, deadline).await {
        Ok(place) => (answer, place),
        Err(OutOfRoom) => (Answer::Failure(failure(&GetError::DeadlineExceeded.into())), None),
    };
    (wire::StreamResponse { id, answer: Some(answer) }, place)
}

/// The answer, and the bytes of its values.
async fn answer(asker: &Asker, request: wire::StreamRequest, deadline: Instant) -> (Answer, usize) {
    let calls = asker.calls.of(asker.caller);
    let mut bytes = 0;
    let answer = match request.call {
        Some(Call::Get(get)) => {
            let answer = calls.get(&get.group, get.key, deadline).await;
            answer.map(|answer| {
                bytes = answer.entry.value_bytes();
                Answer::Get(get_response(&answer))
            })
        }
        Some(Call::GetMany(many)) => {
            let results = Box::pin(calls.get_many(&many.group, many.keys, deadline)).await;
            results.map(|results| {
                bytes = results.iter().flatten().map(|answer| answer.entry.value_bytes()).sum();
                Answer::GetMany(wire::GetManyResponse {
                    results: results.into_iter().map(key_result).collect(),
                })
            })
        }
        Some(Call::Remove(remove)) => {
            let removed =
                calls.remove(&remove.group, vec![remove.key], remove.source_version, deadline).await;
            removed.map(|()| Answer::Remove(wire::RemoveResponse {}))
        }
        Some(Call::RemoveMany(many)) => {
            let removed = calls.remove(&many.group, many.keys, None, deadline).await;
            removed.map(|()| Answer::RemoveMany(wire::RemoveManyResponse {}))
        }
        Some(Call::Set(asked)) => {
            set(asker, asked, deadline).await.map(|()| Answer::Set(wire::SetResponse {}))
        }
        None => {
            Err(CallError::Invalid("the call is missing, or of a kind this release does not know".into()))
        }
    };
    (answer.unwrap_or_else(|error| Answer::Failure(failure(&error))), bytes)
}

/// A value on a stream waits beside many others of the same stream: each finds its own room.
async fn set(asker: &Asker, asked: wire::SetRequest, deadline: Instant) -> Result<(), CallError> {
    let mut place = asker.calls.incoming().place();
    place.holds(asked.value.len() as u64)?;
    let ttl = asked.ttl_ms.map(Duration::from_millis);
    let calls = asker.calls.of(asker.caller);
    calls.set(&asked.group, asked.key, asked.value, ttl, asked.source_version, deadline).await
}
