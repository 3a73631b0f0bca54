//! The data port's own service: what applications ask through `groupcache.v1`.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use groupcache_proto::cache::{self as wire, cache_service_server::CacheService};
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::transport::calls::{self, CallError, Calls};
use crate::transport::stream;
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

/// The moment a gRPC call must be answered by.
#[must_use]
pub fn deadline_of(metadata: &MetadataMap) -> Instant {
    let wish = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(grpc_timeout);
    calls::deadline(wish)
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

#[tonic::async_trait]
impl CacheService for DataServer {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<wire::StreamResponse, Status>> + Send>>;

    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetResponse>, Status> {
        let deadline = deadline_of(request.metadata());
        let wire::GetRequest { group, key, .. } = request.into_inner();
        match self.calls.get(&group, key, deadline).await {
            Ok(answer) => Ok(Response::new(get_response(&answer))),
            Err(error) => Err(status(&error)),
        }
    }

    async fn get_many(
        &self,
        request: Request<wire::GetManyRequest>,
    ) -> Result<Response<wire::GetManyResponse>, Status> {
        let deadline = deadline_of(request.metadata());
        let wire::GetManyRequest { group, keys } = request.into_inner();
        match Box::pin(self.calls.get_many(&group, keys, deadline)).await {
            Ok(results) => {
                let results = results.into_iter().map(key_result).collect();
                Ok(Response::new(wire::GetManyResponse { results }))
            }
            Err(error) => Err(status(&error)),
        }
    }

    async fn remove(
        &self,
        request: Request<wire::RemoveRequest>,
    ) -> Result<Response<wire::RemoveResponse>, Status> {
        let deadline = deadline_of(request.metadata());
        let wire::RemoveRequest { group, key, source_version } = request.into_inner();
        calls::versionless(source_version).map_err(|error| status(&error))?;
        match self.calls.remove(&group, vec![key], deadline).await {
            Ok(()) => Ok(Response::new(wire::RemoveResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn remove_many(
        &self,
        request: Request<wire::RemoveManyRequest>,
    ) -> Result<Response<wire::RemoveManyResponse>, Status> {
        let deadline = deadline_of(request.metadata());
        let wire::RemoveManyRequest { group, keys } = request.into_inner();
        match self.calls.remove(&group, keys, deadline).await {
            Ok(()) => Ok(Response::new(wire::RemoveManyResponse {})),
            Err(error) => Err(status(&error)),
        }
    }

    async fn set(&self, _: Request<wire::SetRequest>) -> Result<Response<wire::SetResponse>, Status> {
        Err(status(&CallError::NotServed("Set")))
    }

    async fn flush(&self, _: Request<wire::FlushRequest>) -> Result<Response<wire::FlushResponse>, Status> {
        Err(status(&CallError::NotServed("Flush")))
    }

    async fn fill(&self, _: Request<wire::FillRequest>) -> Result<Response<wire::FillResponse>, Status> {
        Err(status(&CallError::NotServed("Fill")))
    }

    async fn stream(
        &self,
        request: Request<Streaming<wire::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let answers = stream::answers(self.calls.clone(), request.into_inner());
        Ok(Response::new(Box::pin(answers)))
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
