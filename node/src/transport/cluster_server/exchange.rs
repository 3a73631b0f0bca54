//! Many calls of one node over one stream: answered as they are ready, and none waits for a slow one before it.
//!
//! What takes no time is answered where it is read: a purge never stands in a queue behind loads. A stream whose answers are not read is not read from.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{AbortHandle, BoxFuture, abortable};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use groupcache_group::group::{Answer, GetError, Origin};
use groupcache_group::value::Outcome;
use groupcache_proto::cluster::exchange_request::Call;
use groupcache_proto::cluster::exchange_response::Answer as Said;
use groupcache_proto::cluster::{self as wire, fetch_response};
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};

use crate::transport::calls::{self, CallError};
use crate::transport::cluster_server::ClusterServer;
use crate::transport::connection::Connection;
use crate::transport::fetching::{Fetching, LARGE_BYTES, Next};
use crate::transport::outgoing::{Carried, OutOfRoom, Place, SMALL_BYTES, Unsent};
use crate::transport::parked::Ticket;
use crate::transport::wire::{fetch_response as to_fetch_response, status};

/// Calls of one stream that are under way: a little more than a node has under way at another. The next is read when one of them has been answered.
const CALLS_AT_ONCE: usize = 1024;

/// How long a peek waits for this node to serve under a new view: less than who asks waits before it calls its loader.
const PEEK_WAITS: Duration = Duration::from_millis(40);

/// What a call under way comes to: an answer, a call that goes on, both or neither.
#[derive(Default)]
struct Step {
    answer: Option<(Said, Option<Place>)>,
    goes_on: Option<Fetching<Final>>,
    ticket: Option<Ticket>,
}

impl Step {
    fn of(answer: (Said, Option<Place>)) -> Self {
        Step { answer: Some(answer), ..Step::default() }
    }
}

/// The last answer to a fetch.
struct Final {
    said: Said,
    place: Option<Place>,
    ticket: Option<Ticket>,
}

impl Final {
    fn of(said: Said) -> Self {
        Final { said, place: None, ticket: None }
    }
}

/// What is said to a peek: a large value is not shown, for it would hold up others.
fn shown(peeked: Result<wire::PeekResponse, Status>) -> Said {
    match peeked {
        Ok(peeked) if bytes_of(&peeked) > LARGE_BYTES => Said::Large(wire::Large { ticket: 0 }),
        Ok(peeked) => Said::Peek(peeked),
        Err(status) => failed(status),
    }
}

fn bytes_of(peeked: &wire::PeekResponse) -> usize {
    peeked.value.as_ref().map_or(0, |entry| entry.value.len())
}

/// The same once there is room for it.
async fn with_room(said: Said, unsent: Unsent) -> (Said, Option<Place>) {
    let bytes = if let Said::Peek(peeked) = &said { bytes_of(peeked) } else { 0 };
    match unsent.place(bytes, calls::deadline(None)).await {
        Ok(place) => (said, place),
        Err(OutOfRoom) => (failed(out_of_time()), None),
    }
}

/// The answers to the calls of a stream, until its calls end and all are answered, or it breaks.
pub(crate) struct Exchange {
    server: ClusterServer,
    connection: Connection,
    carried: Carried,
    /// `None` once the caller sends no more.
    requests: Option<Streaming<wire::ExchangeRequest>>,
    under_way: FuturesUnordered<BoxFuture<'static, (u64, Step)>>,
    /// How each call under way that can be withdrawn is.
    withdraw: HashMap<u64, AbortHandle>,
    /// `None` once the caller has been told.
    ending: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Exchange {
    pub(crate) fn new(
        server: ClusterServer,
        connection: Connection,
        carried: Carried,
        requests: Streaming<wire::ExchangeRequest>,
    ) -> Self {
        Exchange {
            server,
            carried,
            requests: Some(requests),
            under_way: FuturesUnordered::new(),
            withdraw: HashMap::new(),
            ending: Some(Box::pin(connection.ending.clone().cancelled_owned())),
            connection,
        }
    }

    /// Answers at once, or puts the call under way.
    fn begin(&mut self, request: wire::ExchangeRequest) -> Option<wire::ExchangeResponse> {
        let id = request.id;
        let said = match request.call {
            Some(Call::Fetch(fetch)) => return self.fetch(id, fetch),
            Some(Call::Purge(purge)) => self.server.purged(purge).map(Said::Purge),
            Some(Call::Peek(peek)) => return self.peek(id, peek),
            Some(Call::Store(store)) => self.server.stored(store).map(Said::Store),
            Some(Call::Beat(beat)) => {
                let server = self.server.clone();
                self.under_way.push(Box::pin(async move {
                    let said = server.beaten(beat).await.map_or_else(failed, Said::Beat);
                    (id, Step { answer: Some((said, None)), ..Step::default() })
                }));
                return None;
            }
            Some(Call::Cancel(_)) => {
                if let Some(handle) = self.withdraw.remove(&id) {
                    handle.abort();
                }
                return None;
            }
            None => {
                Err(Status::unimplemented("the call is missing, or of a kind this release does not know"))
            }
        };
        Some(answered(id, said.unwrap_or_else(failed)))
    }

    fn fetch(&mut self, id: u64, fetch: wire::FetchRequest) -> Option<wire::ExchangeResponse> {
        if let Err(status) = self.server.admit(fetch.caller.as_ref()) {
            return Some(answered(id, failed(status)));
        }
        // Most fetches end here: no task, no timer, no copy.
        if let Some(answer) = self.server.groups.cached(&fetch.group, &fetch.key, Origin::Peer)
            && answer.entry.value_bytes() < SMALL_BYTES
        {
            let said = to_fetch_response(self.server.version(), Ok(answer)).map(Said::Fetch);
            return Some(answered(id, said.unwrap_or_else(failed)));
        }
        let deadline = calls::deadline(Some(Duration::from_millis(fetch.deadline_ms)));
        let (server, connection) = (self.server.clone(), self.connection.clone());
        let answer = async move {
            match server.clone().answer(fetch, deadline).await {
                Ok(answer) if answer.entry.value_bytes() > LARGE_BYTES => large(&server, answer),
                answer => placed(&server, &connection, answer, deadline).await,
            }
        };
        self.go_on(id, Fetching::begin(Box::pin(answer)));
        None
    }

    fn peek(&mut self, id: u64, peek: wire::PeekRequest) -> Option<wire::ExchangeResponse> {
        let (server, unsent) = (self.server.clone(), self.connection.unsent.clone());
        if !server.groups.grants().are_awaited() {
            let said = shown(server.peeked(&peek));
            if !matches!(&said, Said::Peek(peeked) if bytes_of(peeked) >= SMALL_BYTES) {
                return Some(answered(id, said));
            }
            self.under_way.push(Box::pin(async move { (id, Step::of(with_room(said, unsent).await)) }));
            return None;
        }
        // Whoever asks had a new view like this node; a moment from now there is something to be shown.
        self.under_way.push(Box::pin(async move {
            server.groups.grants().wait_after_change(Instant::now() + PEEK_WAITS).await;
            (id, Step::of(with_room(shown(server.peeked(&peek)), unsent).await))
        }));
        None
    }

    /// Puts a fetch under way, or under way again.
    fn go_on(&mut self, id: u64, fetching: Fetching<Final>) {
        let server = self.server.clone();
        let (step, handle) = abortable(async move {
            match fetching.next().await {
                Next::Answer(Final { said, place, ticket }) => {
                    Step { answer: Some((said, place)), ticket, goes_on: None }
                }
                Next::Sign(fetching) => {
                    let outcome = Some(fetch_response::Outcome::Pending(wire::Pending {}));
                    let sign = wire::FetchResponse { version: server.wire_version(), outcome };
                    Step { answer: Some((Said::Fetch(sign), None)), goes_on: Some(fetching), ticket: None }
                }
            }
        });
        self.withdraw.insert(id, handle);
        // One that is withdrawn has no answer.
        self.under_way.push(Box::pin(step.map(move |step| (id, step.unwrap_or_default()))));
    }

    /// What a call under way has come to.
    fn step(&mut self, id: u64, step: Step) -> Option<wire::ExchangeResponse> {
        match step.goes_on {
            Some(fetching) => self.go_on(id, fetching),
            None => drop(self.withdraw.remove(&id)),
        }
        if let Some(ticket) = step.ticket {
            self.under_way.push(Box::pin(ticket.lapse().map(move |()| (id, Step::default()))));
        }
        let (said, place) = step.answer?;
        self.carried.add(place);
        Some(answered(id, said))
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<Option<wire::ExchangeRequest>> {
        let Some(requests) = &mut self.requests else { return Poll::Ready(None) };
        if self.under_way.len() >= CALLS_AT_ONCE {
            // Whatever is answered next wakes the reader.
            return Poll::Pending;
        }
        match requests.poll_next_unpin(cx) {
            Poll::Ready(Some(Ok(request))) => Poll::Ready(Some(request)),
            // A broken stream has nobody left to tell.
            Poll::Ready(Some(Err(_)) | None) => {
                self.requests = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Stream for Exchange {
    type Item = Result<wire::ExchangeResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ending.as_mut().is_some_and(|ending| ending.as_mut().poll(cx).is_ready()) {
            this.ending = None;
            return Poll::Ready(Some(Ok(answered(0, Said::Closing(wire::Closing {})))));
        }
        loop {
            if let Poll::Ready(Some((id, step))) = this.under_way.poll_next_unpin(cx) {
                match this.step(id, step) {
                    Some(answer) => return Poll::Ready(Some(Ok(answer))),
                    None => continue,
                }
            }
            match this.read(cx) {
                Poll::Ready(Some(request)) => {
                    if let Some(answer) = this.begin(request) {
                        return Poll::Ready(Some(Ok(answer)));
                    }
                }
                Poll::Ready(None) if this.under_way.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// A large answer waits for its asker elsewhere: in main, where it asks again, or parked.
fn large(server: &ClusterServer, answer: Answer) -> Final {
    let ticket = if answer.keep { None } else { server.parked.park(answer) };
    let number = ticket.as_ref().map_or(0, Ticket::number);
    Final { said: Said::Large(wire::Large { ticket: number }), place: None, ticket }
}

/// An answer, once there is room for it: nothing of it is written before.
async fn placed(
    server: &ClusterServer,
    connection: &Connection,
    answer: Result<Answer, CallError>,
    deadline: Instant,
) -> Final {
    let bytes = match &answer {
        Ok(Answer { entry, .. }) if matches!(entry.outcome, Outcome::Value(_)) => entry.value_bytes(),
        _ => 0,
    };
    match connection.unsent.place(bytes, deadline).await {
        Ok(place) => {
            let said = to_fetch_response(server.version(), answer).map_or_else(failed, Said::Fetch);
            Final { said, place, ticket: None }
        }
        Err(OutOfRoom) => Final::of(failed(out_of_time())),
    }
}

fn out_of_time() -> Status {
    status(&GetError::DeadlineExceeded.into())
}

#[allow(clippy::needless_pass_by_value, reason = "it ends a Result")]
fn failed(status: Status) -> Said {
    Said::Failure(wire::CallFailure { code: status.code().into(), message: status.message().to_owned() })
}

fn answered(id: u64, said: Said) -> wire::ExchangeResponse {
    wire::ExchangeResponse { id, answer: Some(said) }
}
