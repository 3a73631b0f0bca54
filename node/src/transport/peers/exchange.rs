//! The streams to one node: a few for small calls, and one for what must not stand in line.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use groupcache_group::peer::PeerError;
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::exchange_request::Call;
use groupcache_proto::cluster::exchange_response::Answer as Said;
use parking_lot::Mutex;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::transport::peers::breaker::Breaker;
use crate::transport::peers::lane::{Lane, Unanswered};
use crate::transport::peers::{Patience, unanswered};

/// Streams for fetches, looks and stores. One is read and written by one task at either end; more of them than cores gain nothing.
const LANES: usize = 2;

/// For how long a node that does not know streams is spoken to in calls before it is asked again: it may have been replaced by a newer release.
const CALLS_FOR: Duration = Duration::from_secs(60);

/// Calls over streams.
#[derive(Debug)]
pub(super) struct Exchange {
    lanes: [Lane; LANES],
    /// For beats and purges alone.
    first_class: Lane,
    next: AtomicU64,
    calls_until: Mutex<Option<Instant>>,
}

impl Exchange {
    pub(super) fn new(client: &ClusterServiceClient<Channel>, breaker: &Arc<Breaker>) -> Self {
        let lane = || Lane::new(client.clone(), Arc::clone(breaker));
        Exchange {
            lanes: std::array::from_fn(|_| lane()),
            first_class: lane(),
            next: AtomicU64::new(1),
            calls_until: Mutex::default(),
        }
    }

    /// Asks over a stream. Without patience only the deadline ends the wait.
    pub(super) async fn ask(
        &self,
        call: Call,
        patience: Option<Patience>,
        hard: Instant,
    ) -> Result<Said, Unanswered> {
        if self.calls_until.lock().is_some_and(|until| Instant::now() < until) {
            return Err(Unanswered::NotServed);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let lane = match call {
            Call::Beat(_) | Call::Purge(_) => &self.first_class,
            _ => &self.lanes[id as usize % LANES],
        };
        let said = lane.call(id, call, patience, hard).await;
        if matches!(said, Err(Unanswered::NotServed)) {
            *self.calls_until.lock() = Some(Instant::now() + CALLS_FOR);
        }
        said
    }
}

/// What it means that another answer came than the one expected: a failure that the node states, or nonsense.
pub(super) fn instead(said: Said) -> PeerError {
    match said {
        Said::Failure(failure) => unanswered(&Status::new(Code::from(failure.code), failure.message)),
        _ => PeerError::Refused("it answered what it was not asked".into()),
    }
}
