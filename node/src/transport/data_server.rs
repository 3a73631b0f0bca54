//! The data port's own service: what applications ask through `groupcache.v1`.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use groupcache_proto::cache::{self as wire, cache_service_server::CacheService};
use tonic::{Request, Response, Status, Streaming};

use crate::access::Caller;
use crate::transport::calls::{CallError, Calls};
use crate::transport::connection::Connection;
use crate::transport::outgoing::{Carried, Weight};
use crate::transport::overdue::deadline_in;
use crate::transport::stream::{self, Asker};
use crate::transport::wire::{get_response, key_result, status};

/// Serves `groupcache.v1`.
#[derive(Clone, Debug)]
pub struct DataServer {
    calls: Calls,
}

impl DataServer {
    /// Serves these calls.
    #[must_use]
    pub fn new(calls: Calls) -> Self {
        DataServer { calls }
    }
}

#[tonic::async_trait]
impl CacheService for DataServer {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<wire::StreamResponse, Status>> + Send>>;

    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::GetRequest { group, key, .. } = request.into_inner();
        match calls.get(&group, key, deadline).await {
            Ok(answer) => {
                let bytes = answer.entry.value_bytes();
                Ok(weighed(get_response(&answer), Weight { bytes, deadline }))
            }
            Err(error) => Err(status(&error)),
        }
    }

    async fn get_many(
        &self,
        request: Request<wire::GetManyRequest>,
    ) -> Result<Response<wire::GetManyResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::GetManyRequest { group, keys } = request.into_inner();
        match Box::pin(calls.get_many(&group, keys, deadline)).await {
            Ok(results) => {
                let bytes = results.iter().flatten().map(|answer| answer.entry.value_bytes()).sum();
                let results = results.into_iter().map(key_result).collect();
                Ok(weighed(wire::GetManyResponse { results }, Weight { bytes, deadline }))
            }
            Err(error) => Err(status(&error)),
        }
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::RemoveResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::RemoveRequest { group, key, source_version } = request.into_inner();
        match calls.remove(&group, vec![key], source_version, deadline).await {
            Ok(()) => Ok(Response::new(wire::RemoveResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn remove_many(
        &self,
        request: Request<wire::RemoveManyRequest>,
    ) -> Result<Response<wire::RemoveManyResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::RemoveManyRequest { group, keys } = request.into_inner();
        match calls.remove(&group, keys, None, deadline).await {
            Ok(()) => Ok(Response::new(wire::RemoveManyResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn set(&self, request: Request<wire::SetRequest>) -> Result<Response<wire::SetResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::SetRequest { group, key, value, ttl_ms, source_version } = request.into_inner();
        let ttl = ttl_ms.map(Duration::from_millis);
        match calls.set(&group, key, value, ttl, source_version, deadline).await {
            Ok(()) => Ok(Response::new(wire::SetResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn flush(
        &self,
        request: Request<wire::FlushRequest>,
    ) -> Result<Response<wire::FlushResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        match calls.flush(&request.into_inner().group, deadline).await {
            Ok(()) => Ok(Response::new(wire::FlushResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn fill(&self, _: Request<wire::FillRequest>) -> Result<Response<wire::FillResponse>, Status> {
        Err(status(&CallError::NotServed("Fill")))
    }

    async fn stream(
        &self,
        request: Request<Streaming<wire::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (connection, carried) = (Connection::of(&request), Carried::default());
        let asker = Asker { calls: self.calls.clone(), caller: caller_of(&request) };
        let answers = stream::answers(asker, request.into_inner(), connection.unsent, carried.clone());
        let mut response: Response<Self::StreamStream> = Response::new(Box::pin(answers));
        response.extensions_mut().insert(carried);
        Ok(response)
    }
}

/// Who calls, as the gate has found.
pub(crate) fn caller_of<T>(request: &Request<T>) -> Option<Caller> {
    request.extensions().get().copied()
}

/// An answer whose connection finds room for it.
pub(crate) fn weighed<T>(answer: T, weight: Weight) -> Response<T> {
    let mut response = Response::new(answer);
    response.extensions_mut().insert(weight);
    response
}
