//! The family's door: `groupcachepb.GroupCache/Get`, answered as an application's Get.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use groupcache_group::value::Outcome;
use groupcache_proto::family::{self as wire, group_cache_server::GroupCache};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::transport::calls::Calls;
use crate::transport::data_server::{caller_of, weighed};
use crate::transport::outgoing::Weight;
use crate::transport::overdue::deadline_in;
use crate::transport::wire::status;

/// Serves the family's one call.
#[derive(Clone, Debug)]
pub struct FamilyServer {
    calls: Calls,
}

impl FamilyServer {
    /// Serves these calls.
    #[must_use]
    pub fn new(calls: Calls) -> Self {
        FamilyServer { calls }
    }
}

#[tonic::async_trait]
impl GroupCache for FamilyServer {
    async fn get(&self, request: Request<wire::GetRequest>) -> Result<Response<wire::GetResponse>, Status> {
        let (deadline, calls) = (deadline_in(request.metadata())?, self.calls.of(caller_of(&request)));
        let wire::GetRequest { group, key } = request.into_inner();
        // A name that is no text is no name of a group, and is told so.
        let group = String::from_utf8_lossy(&group).into_owned();
        let answer = calls.get(&group, key, deadline).await.map_err(|error| status(&error))?;
        match answer.entry.outcome {
            Outcome::NotFound => Err(Status::not_found("the loader has no such key")),
            Outcome::Value(ref value) => {
                let weight = Weight { bytes: value.len(), deadline };
                let expire = answer.entry.remaining(Instant::now()).map(unix_nanos);
                let found = wire::GetResponse { value: Some(value.clone()), minute_qps: None, expire };
                Ok(weighed(found, weight))
            }
        }
    }
}

/// The family carries expiry as a moment of the clock on the wall.
fn unix_nanos(remaining: Duration) -> i64 {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + remaining;
    i64::try_from(at.as_nanos()).unwrap_or(i64::MAX)
}
