//! The gRPC loader: a service that speaks `groupcache.loader.v1`.

use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadManyRequest, LoadRequest, Loaded, Loader};
use groupcache_group::value::{Key, Outcome};
use groupcache_proto::loader::{self as wire, load_response, load_result};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::causes::{caused_by, causes};
use crate::configuration::MAX_VALUE_BYTES;
use crate::loader::addresses::Addresses;
use crate::loader::failure::{DEADLINE_EXCEEDED, OUT_OF_RANGE, UNAVAILABLE, UNIMPLEMENTED, UNKNOWN, failed};
use crate::loader::many::Most;
use crate::loader::metered::{Metered, TooLarge};
use crate::loader::room::GroupRoom;

/// What a message may be larger than the values in it.
const FRAMING_BYTES: usize = 64 << 10;

/// The largest answer that is read, to one key or to many: a value of the largest size there is.
const MAX_ANSWER_BYTES: usize = MAX_VALUE_BYTES as usize + FRAMING_BYTES;

/// How much of a failure's text is passed on.
const MESSAGE_CHARS: usize = 256;

const LOAD: &str = "/groupcache.loader.v1.LoaderService/Load";
const LOAD_MANY: &str = "/groupcache.loader.v1.LoaderService/LoadMany";

/// Loads through gRPC.
#[derive(Debug)]
pub struct GrpcLoader {
    name: String,
    target: String,
    addresses: Addresses,
    most: Most,
    room: GroupRoom,
}

impl GrpcLoader {
    /// A loader that asks `target`, so many calls at a time, and reads answers as there is `room` for them.
    #[must_use]
    pub fn new(name: String, target: String, authority: Option<&str>, calls: usize, room: GroupRoom) -> Self {
        let addresses = Addresses::new(target.clone(), authority, calls);
        GrpcLoader { name, target, addresses, most: Most::new(), room }
    }

    async fn one(&self, request: LoadRequest) -> Result<Loaded, LoadError> {
        let message = wire::LoadRequest { group: request.group.to_string(), key: request.key.to_bytes() };
        let answer = self.ask(LOAD, message, request.deadline).await.map_err(|(_, error)| error)?;
        loaded(&self.name, answer)
    }

    async fn many(&self, request: LoadManyRequest) -> Result<Vec<Result<Loaded, LoadError>>, LoadError> {
        let asked = request.keys.len();
        let keys = request.keys.iter().map(Key::to_bytes).collect();
        let message = wire::LoadManyRequest { group: request.group.to_string(), keys };
        let answer: wire::LoadManyResponse = match self.ask(LOAD_MANY, message, request.deadline).await {
            Ok(answer) => answer,
            Err((code, error)) => {
                match code {
                    UNIMPLEMENTED => self.most.one(),
                    OUT_OF_RANGE => self.most.fewer_than(asked),
                    _ => {}
                }
                return Err(error);
            }
        };
        let answered = answer.results.len();
        if answered != asked {
            let what = format!(
                "LoadMany answered {answered} results for {asked} keys; it must answer one per key, in their order"
            );
            return Err(failed(&self.name, UNKNOWN, what));
        }
        Ok(answer.results.into_iter().map(|result| self.result(result)).collect())
    }

    fn result(&self, result: wire::LoadResult) -> Result<Loaded, LoadError> {
        match result.result {
            Some(load_result::Result::Response(answer)) => loaded(&self.name, answer),
            Some(load_result::Result::Failure(failure)) => {
                let said: String = failure.message.chars().take(MESSAGE_CHARS).collect();
                Err(failed(&self.name, code_of_failure(Code::from_i32(failure.code)), said))
            }
            None => Err(failed(&self.name, UNKNOWN, "a result is neither a response nor a failure")),
        }
    }

    /// Asks, and once more elsewhere if nobody has seen it. A failure comes with its code.
    async fn ask<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        deadline: Instant,
    ) -> Result<A, (i32, LoadError)>
    where
        Q: Message + Clone + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let given = deadline.saturating_duration_since(Instant::now());
        let mut answer = self.ask_once(path, message.clone(), deadline).await;
        if let Err((_, status)) = &answer
            && never_sent(status)
        {
            // Nobody has seen the load yet, so that asking at another address is no second load.
            answer = self.ask_once(path, message, deadline).await;
        }
        answer.map_err(|(code, status)| {
            let said = match std::error::Error::source(&status) {
                Some(_) if code == DEADLINE_EXCEEDED => format!("no answer within {} ms", given.as_millis()),
                Some(source) => format!("{}: {}", self.target, causes(source)),
                None => status.message().to_owned(),
            };
            (code, failed(&self.name, code, said))
        })
    }

    async fn ask_once<Q, A>(
        &self,
        path: &'static str,
        message: Q,
        deadline: Instant,
    ) -> Result<A, (i32, Status)>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let unresolved = |error: std::io::Error| {
            (UNAVAILABLE, Status::unavailable(format!("{} does not resolve: {error}", self.target)))
        };
        let (address, channel) = self.addresses.pick().await.map_err(unresolved)?;
        let metered = Metered::new(channel, self.room.clone(), MAX_ANSWER_BYTES);
        let answer = call(metered, path, message, deadline).await;
        answer.map_err(|status| {
            if never_sent(&status) {
                self.addresses.failed(address);
            }
            (code_of(&status), status)
        })
    }
}

/// The status comes after the message, and may still take it back: the call waits for both.
async fn call<Q, A>(channel: Metered, path: &'static str, message: Q, deadline: Instant) -> Result<A, Status>
where
    Q: Message + Send + Sync + 'static,
    A: Message + Default + Send + Sync + 'static,
{
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let mut request = Request::new(message);
    request.set_timeout(deadline.saturating_duration_since(Instant::now()));
    let codec = ProstCodec::<Q, A>::default();
    Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
}

impl Loader for GrpcLoader {
    fn name(&self) -> &str {
        &self.name
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(self.one(request))
    }

    fn most_keys(&self) -> usize {
        self.most.keys()
    }

    fn load_many(
        &self,
        request: LoadManyRequest,
    ) -> BoxFuture<'_, Result<Vec<Result<Loaded, LoadError>>, LoadError>> {
        Box::pin(self.many(request))
    }
}

/// What the loader of that name said.
///
/// # Errors
/// If it said nothing.
pub fn loaded(loader: &str, answer: wire::LoadResponse) -> Result<Loaded, LoadError> {
    let outcome = match answer.outcome {
        Some(load_response::Outcome::Value(value)) => Outcome::Value(value),
        Some(load_response::Outcome::NotFound(_)) => Outcome::NotFound,
        None => return Err(failed(loader, UNKNOWN, "it answered neither a value nor not_found")),
    };
    Ok(Loaded { outcome, ttl: answer.ttl_ms.map(Duration::from_millis), version: answer.version })
}

fn never_sent(status: &Status) -> bool {
    caused_by::<tonic::ConnectError>(status)
}

fn code_of(status: &Status) -> i32 {
    match status.code() {
        // The channel's own words for a deadline it kept.
        Code::Cancelled if caused_by::<tonic::TimeoutExpired>(status) => DEADLINE_EXCEEDED,
        _ if caused_by::<TooLarge>(status) => OUT_OF_RANGE,
        code => code_of_failure(code),
    }
}

/// The code that callers get. "Not found" and "ok" would be read as answers about the key, which a failure is not.
fn code_of_failure(code: Code) -> i32 {
    match code {
        Code::Ok | Code::NotFound => UNKNOWN,
        code => code.into(),
    }
}
