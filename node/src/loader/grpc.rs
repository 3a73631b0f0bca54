//! The gRPC loader: a service that speaks `groupcache.loader.v1`.

use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader};
use groupcache_group::value::Outcome;
use groupcache_proto::loader::{self as wire, load_response};
use http::uri::PathAndQuery;
use tokio::time::Instant;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use crate::causes::{caused_by, causes};
use crate::configuration::MAX_VALUE_BYTES;
use crate::loader::addresses::Addresses;
use crate::loader::failure::{DEADLINE_EXCEEDED, UNAVAILABLE, UNKNOWN, failed};
use crate::memory::InFlightBytes;

/// What a message may be larger than the value in it.
const FRAMING_BYTES: usize = 64 << 10;

const LOAD: &str = "/groupcache.loader.v1.LoaderService/Load";

/// Loads through gRPC.
#[derive(Debug)]
pub struct GrpcLoader {
    name: String,
    target: String,
    addresses: Addresses,
    max_value_bytes: usize,
    in_flight: InFlightBytes,
}

impl GrpcLoader {
    /// A loader that asks `target`, for values of usually at most `max_value_bytes`.
    #[must_use]
    pub fn new(
        name: String,
        target: String,
        authority: Option<&str>,
        max_value_bytes: usize,
        in_flight: InFlightBytes,
    ) -> Self {
        let addresses = Addresses::new(target.clone(), authority);
        GrpcLoader { name, target, addresses, max_value_bytes, in_flight }
    }

    async fn ask(&self, request: LoadRequest) -> Result<Loaded, LoadError> {
        let mut answer = self.ask_once(&request).await;
        if let Err((_, status)) = &answer
            && never_sent(status)
        {
            // Nobody has seen the load yet, so that asking at another address is no second load.
            answer = self.ask_once(&request).await;
        }
        let answer = answer.map_err(|(code, status)| {
            let said = match std::error::Error::source(&status) {
                Some(source) => format!("{}: {}", self.target, causes(source)),
                None => status.message().to_owned(),
            };
            failed(&self.name, code, said)
        })?;
        let outcome = match answer.outcome {
            Some(load_response::Outcome::Value(value)) => Outcome::Value(value),
            Some(load_response::Outcome::NotFound(_)) => Outcome::NotFound,
            None => return Err(failed(&self.name, UNKNOWN, "it answered neither a value nor not_found")),
        };
        Ok(Loaded { outcome, ttl: answer.ttl_ms.map(Duration::from_millis), version: answer.version })
    }

    async fn ask_once(&self, request: &LoadRequest) -> Result<wire::LoadResponse, (i32, Status)> {
        let unresolved = |error: std::io::Error| {
            (UNAVAILABLE, Status::unavailable(format!("{} does not resolve: {error}", self.target)))
        };
        let (address, channel) = self.addresses.pick().await.map_err(unresolved)?;
        let answer = self.call(channel, request).await;
        answer.map_err(|status| {
            if never_sent(&status) {
                self.addresses.failed(address);
            }
            (code_of(&status), status)
        })
    }

    /// A unary call, read as a stream of one: between the answer's head and its body there is a moment to find memory for it.
    async fn call(
        &self,
        channel: tonic::transport::Channel,
        request: &LoadRequest,
    ) -> Result<wire::LoadResponse, Status> {
        let mut client = tonic::client::Grpc::new(channel)
            .max_decoding_message_size(MAX_VALUE_BYTES as usize + FRAMING_BYTES);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let message = wire::LoadRequest { group: request.group.to_string(), key: request.key.to_bytes() };
        let mut call = Request::new(message);
        call.set_timeout(request.deadline.saturating_duration_since(Instant::now()));
        let codec = ProstCodec::<wire::LoadRequest, wire::LoadResponse>::default();
        let head = client.server_streaming(call, PathAndQuery::from_static(LOAD), codec).await?;
        let mut body = head.into_inner();
        let _reserved = self.in_flight.reserve(self.max_value_bytes as u64).await;
        let answer = body.message().await?;
        let answer = answer.ok_or_else(|| Status::unknown("it ended without an answer"))?;
        // The status comes after the message, and may still take it back.
        body.trailers().await?;
        Ok(answer)
    }
}

impl Loader for GrpcLoader {
    fn name(&self) -> &str {
        &self.name
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(self.ask(request))
    }
}

fn never_sent(status: &Status) -> bool {
    caused_by::<tonic::ConnectError>(status)
}

/// The code that callers get. "Not found" and "ok" would be read as answers about the key, which a failure is not.
fn code_of(status: &Status) -> i32 {
    match status.code() {
        // The channel's own words for a deadline it kept.
        Code::Cancelled if caused_by::<tonic::TimeoutExpired>(status) => DEADLINE_EXCEEDED,
        Code::Ok | Code::NotFound => UNKNOWN,
        code => code.into(),
    }
}
