//! What another node's main cache holds of what this one has come to own: which keys, and their entries.

use std::time::Duration;

use bytes::Bytes;
use groupcache_group::peer::{KeysHeld, KeysRequest, PeekManyRequest, PeekedMany, PeerError};
use groupcache_group::value::Key;
use groupcache_proto::cluster as wire;
use groupcache_ring::{Member, Version};
use tokio::time::{Instant, timeout_at};

use crate::configuration::MAX_KEY_BYTES;
use crate::transport::peers::{MARGIN, TonicPeers, ended, place, unanswered};
use crate::transport::wire as table;

/// Bytes of keys that are taken from one node; what it would say beyond is left unread.
const MOST_KEY_BYTES: usize = 4 << 20;

impl TonicPeers {
    pub(super) async fn keys_at(&self, peer: &Member, request: KeysRequest) -> Result<KeysHeld, PeerError> {
        let peer = self.now(peer);
        let link = self.link(&peer);
        let _place = place(&link.places, request.deadline).await?;
        let left: Duration = request.deadline.saturating_duration_since(Instant::now());
        let call = wire::KeysOfRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            limit: u32::try_from(request.limit).unwrap_or(u32::MAX),
            deadline_ms: table::millis(left.saturating_sub(MARGIN)),
        };
        let parts = ended(timeout_at(request.deadline, link.client.clone().keys_of(call)).await)?;
        let mut parts = parts.into_inner();
        let mut held = KeysHeld { version: Version::PROVISIONAL, keys: Vec::new() };
        let mut bytes = 0;
        while let Some(part) = timeout_at(request.deadline, parts.message())
            .await
            .map_err(|_| PeerError::DeadlineExceeded)?
            .map_err(|status| unanswered(&status))?
        {
            held.version = self.shown(&link, &peer, part.version.as_ref());
            for key in
                part.keys.into_iter().filter_map(|key: Bytes| Key::new(key, MAX_KEY_BYTES as usize).ok())
            {
                bytes += key.as_bytes().len();
                if held.keys.len() == request.limit || bytes > MOST_KEY_BYTES {
                    return Ok(held);
                }
                held.keys.push(key);
            }
        }
        Ok(held)
    }

    pub(super) async fn peek_many_at(
        &self,
        peer: &Member,
        request: PeekManyRequest,
    ) -> Result<PeekedMany, PeerError> {
        let peer = self.now(peer);
        let link = self.link(&peer);
        let _place = place(&link.places, request.deadline).await?;
        let call = wire::PeekManyRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            keys: request.keys.iter().map(Key::to_bytes).collect(),
        };
        let answer =
            ended(timeout_at(request.deadline, link.client.clone().peek_many(call)).await)?.into_inner();
        let version = self.shown(&link, &peer, answer.version.as_ref());
        let entries = answer.entries.into_iter().map(|entry| entry.value.map(table::entry_from_wire));
        Ok(PeekedMany { version, entries: entries.collect() })
    }
}
