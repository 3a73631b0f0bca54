//! A fetch: over a stream; a large value, or from a node that knows no streams, by a call of its own.

use groupcache_group::peer::{FetchRequest, Fetched, PeerError};
use groupcache_proto::cluster as wire;
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::exchange_request::Call;
use groupcache_proto::cluster::exchange_response::Answer as Said;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::transport::peers::exchange::instead;
use crate::transport::peers::lane::Unanswered;
use crate::transport::peers::{Link, MARGIN, TonicPeers, place, sign};
use crate::transport::wire as table;

impl TonicPeers {
    /// Fetches, unless the node has shown no sign of life lately.
    pub(super) async fn fetch_from(
        &self,
        link: &Link,
        caller: wire::Caller,
        request: FetchRequest,
    ) -> Result<Fetched, PeerError> {
        let asking = link.breaker.ask()?;
        let version = request.version;
        let fetched = self.fetch_over(link, &caller, request).await;
        asking.ended(&fetched);
        if let Ok(fetched) = &fetched
            && fetched.version > version
        {
            self.tell(&caller.expected_node, fetched.version);
        }
        fetched
    }

    async fn fetch_over(
        &self,
        link: &Link,
        caller: &wire::Caller,
        request: FetchRequest,
    ) -> Result<Fetched, PeerError> {
        let hard = request.deadline;
        let _place = place(&link.places, hard).await?;
        let call = |ticket| wire::FetchRequest {
            caller: Some(caller.clone()),
            group: request.group.to_string(),
            key: request.key.to_bytes(),
            deadline_ms: table::millis(hard.saturating_duration_since(Instant::now()).saturating_sub(MARGIN)),
            ticket,
        };
        let first = Instant::now() + self.patience.first;
        match link.exchange.ask(Call::Fetch(call(0)), Some(self.patience), hard).await {
            Ok(Said::Fetch(answer)) => table::fetched(answer)
                .ok_or_else(|| PeerError::Refused("it answered a fetch with nothing".into())),
            Ok(Said::Large(large)) => {
                // It lives, and the connection may have to be made first.
                let patience = Instant::now() + self.patience.next;
                self.fetch_by_call(link.bulk.clone(), call(large.ticket), patience, hard).await
            }
            Ok(other) => Err(instead(other)),
            Err(Unanswered::NotServed) => self.fetch_by_call(link.client.clone(), call(0), first, hard).await,
            Err(Unanswered::Failed(error)) => Err(error),
        }
    }

    async fn fetch_by_call(
        &self,
        mut client: ClusterServiceClient<Channel>,
        call: wire::FetchRequest,
        mut patience: Instant,
        hard: Instant,
    ) -> Result<Fetched, PeerError> {
        let mut answers = sign(client.fetch(call), patience, hard).await?.into_inner();
        loop {
            let Some(answer) = sign(answers.message(), patience, hard).await? else {
                return Err(PeerError::Unreachable("it ended the call without an answer".into()));
            };
            if let Some(fetched) = table::fetched(answer) {
                return Ok(fetched);
            }
            patience = Instant::now() + self.patience.next;
        }
    }
}
