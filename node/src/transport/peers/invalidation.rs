//! What keeps Removes true, between two nodes: purges, values that were Set, beats, bars and looks into a main cache. One call each.

use groupcache_group::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, Beaten, PeekRequest, Peeked, PeerError, PurgeAck,
    PurgeRequest, Purged, StoreAck, StoreRequest,
};
use groupcache_group::value::Key;
use groupcache_proto::cluster::{self as wire, beat_response};
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use crate::transport::peers::{TonicPeers, ended, place};
use crate::transport::wire as table;

impl TonicPeers {
    pub(super) async fn purge_at(&self, peer: &Member, request: PurgeRequest) -> Result<PurgeAck, PeerError> {
        let peer = self.now(peer);
        let mut link = self.link(&peer);
        let _place = place(&link.places, request.deadline).await?;
        let (keys, whole_group) = match &request.what {
            Purged::Keys(keys) => (keys.iter().map(Key::to_bytes).collect(), false),
            Purged::Group => (Vec::new(), true),
        };
        let call = wire::PurgeRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            keys,
            whole_group,
            window_ms: table::millis(request.window),
            round: request.round,
            purge_id: request.id.0,
            source_version: request.source_version,
        };
        let answer = ended(timeout_at(request.deadline, link.client.purge(call)).await)?.into_inner();
        let version = self.shown(&peer, answer.version.as_ref());
        Ok(PurgeAck { version, barred: answer.barred, generation: answer.generation })
    }

    pub(super) async fn store_at(&self, peer: &Member, request: StoreRequest) -> Result<StoreAck, PeerError> {
        let peer = self.now(peer);
        let mut link = self.link(&peer);
        let _place = place(&link.places, request.deadline).await?;
        let call = wire::StoreRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            key: request.key.to_bytes(),
            value: Some(table::entry_to_wire(&request.entry, Instant::now())),
            generation: request.generation,
        };
        let answer = ended(timeout_at(request.deadline, link.client.store(call)).await)?.into_inner();
        let version = self.shown(&peer, answer.version.as_ref());
        Ok(StoreAck { version, stored: answer.stored })
    }

    pub(super) async fn peek_at(&self, peer: &Member, request: PeekRequest) -> Result<Peeked, PeerError> {
        let peer = self.now(peer);
        let mut link = self.link(&peer);
        let _place = place(&link.places, request.deadline).await?;
        let call = wire::PeekRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            key: request.key.to_bytes(),
        };
        let answer = ended(timeout_at(request.deadline, link.client.peek(call)).await)?.into_inner();
        let version = self.shown(&peer, answer.version.as_ref());
        Ok(Peeked { version, entry: answer.value.map(table::entry_from_wire) })
    }

    pub(super) async fn beat_at(&self, peer: &Member, request: BeatRequest) -> Result<BeatReply, PeerError> {
        let peer = self.now(peer);
        let mut link = self.link(&peer);
        let call = wire::BeatRequest { caller: Some(self.caller(&peer, request.version)) };
        let answer = ended(timeout_at(request.deadline, link.client.beat(call)).await)?.into_inner();
        let version = self.shown(&peer, answer.version.as_ref());
        Ok(BeatReply { version, said: beaten(answer.outcome) })
    }

    pub(super) async fn bar_at(&self, peer: &Member, request: BarRequest) -> Result<BarAck, PeerError> {
        let peer = self.now(peer);
        let mut link = self.link(&peer);
        let call = wire::BarRequest {
            caller: Some(self.caller(&peer, request.version)),
            purge_id: request.id.0,
            nodes: request.nodes.to_vec(),
            lift: request.lift,
        };
        let answer = ended(timeout_at(request.deadline, link.client.bar(call)).await)?.into_inner();
        let version = self.shown(&peer, answer.version.as_ref());
        let remaining = answer.remaining.iter().map(|one| one.remaining_ms).max().unwrap_or(0);
        // Rounded down on the wire: one millisecond more is on the safe side.
        Ok(BarAck { version, remaining: Duration::from_millis(remaining.saturating_add(1)) })
    }

    pub(super) fn shown(&self, peer: &Member, version: Option<&wire::Version>) -> Version {
        let version = convert::version(version);
        self.tell(peer, version);
        version
    }
}

fn beaten(outcome: Option<beat_response::Outcome>) -> Beaten {
    match outcome {
        Some(beat_response::Outcome::Granted(_)) => Beaten::Granted,
        Some(beat_response::Outcome::Barred(_)) => Beaten::Barred,
        Some(beat_response::Outcome::Behind(_)) => Beaten::Behind,
        Some(beat_response::Outcome::Starting(starting)) => {
            Beaten::NotYet(Duration::from_millis(starting.for_ms))
        }
        None => Beaten::NotYet(Duration::ZERO),
    }
}
