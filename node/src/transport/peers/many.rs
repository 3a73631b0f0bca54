//! Several keys of one owner in one call: its answers as they come, and signs of life in between.

use groupcache_group::peer::{FetchManyRequest, FetchOutcome, FetchedMany, PeerError};
use groupcache_group::value::Key;
use groupcache_proto::cluster as wire;
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use tokio::time::Instant;

use crate::transport::peers::{MARGIN, TonicPeers, place, sign};
use crate::transport::wire as table;

impl TonicPeers {
    /// What `peer` says of the first keys, of one at least.
    pub(super) async fn fetch_many_from(
        &self,
        peer: &Member,
        request: FetchManyRequest,
    ) -> Result<FetchedMany, PeerError> {
        let peer = self.now(peer);
        let link = self.link(&peer);
        let (hard, asked) = (request.deadline, request.keys.len());
        let _place = place(&link.places, hard).await?;
        let deadline = hard.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let call = wire::FetchManyRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            keys: request.keys.iter().map(Key::to_bytes).collect(),
            deadline_ms: table::millis(deadline),
        };
        let mut patience = Instant::now() + self.patience.first;
        let mut messages = sign(link.client.clone().fetch_many(call), patience, hard).await?.into_inner();
        let mut many = FetchedMany { version: Version::PROVISIONAL, outcomes: Vec::new() };
        while many.outcomes.len() < asked {
            let message = match sign(messages.message(), patience, hard).await {
                Ok(Some(message)) => message,
                // What came is worth having; the group asks for the rest.
                Ok(None) | Err(_) if !many.outcomes.is_empty() => break,
                Ok(None) => {
                    return Err(PeerError::Unreachable("it ended the call without an answer".into()));
                }
                Err(error) => return Err(error),
            };
            many.version = convert::version(message.version.as_ref());
            self.shown(&link, &peer, message.version.as_ref());
            read(message.answers, asked, &mut many.outcomes)?;
            patience = Instant::now() + self.patience.next;
        }
        Ok(many)
    }
}

/// Takes answers over; there can be no more of them than keys that were asked for.
fn read(
    answers: Vec<wire::FetchResponse>,
    asked: usize,
    outcomes: &mut Vec<FetchOutcome>,
) -> Result<(), PeerError> {
    for answer in answers {
        match table::fetched(answer) {
            Some(fetched) if outcomes.len() < asked => outcomes.push(fetched.outcome),
            _ => {
                let said =
                    format!("among answers for {asked} keys it sent one too many, or one that is none");
                return Err(PeerError::Refused(said.into()));
            }
        }
    }
    Ok(())
}
