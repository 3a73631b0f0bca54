//! What keeps Removes true, between two nodes: purges, values that were Set, beats, bars and looks into a main cache.
//!
//! They go over the streams, except bars and large values; and to a node that knows no streams each is a call.

use groupcache_group::peer::{
    BarAck, BarRequest, BeatReply, BeatRequest, Beaten, PeekRequest, Peeked, PeerError, PurgeAck,
    PurgeRequest, Purged, StoreAck, StoreRequest,
};
use groupcache_group::value::Key;
use groupcache_proto::cluster::exchange_request::Call;
use groupcache_proto::cluster::exchange_response::Answer as Said;
use groupcache_proto::cluster::{self as wire, beat_response};
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

use crate::transport::fetching::LARGE_BYTES;
use crate::transport::peers::exchange::instead;
use crate::transport::peers::lane::Unanswered;
use crate::transport::peers::{Link, TonicPeers, ended, place};
use crate::transport::wire as table;

impl TonicPeers {
    pub(super) async fn purge_at(&self, peer: &Member, request: PurgeRequest) -> Result<PurgeAck, PeerError> {
        let peer = self.now(peer);
        let (link, hard) = (self.link(&peer), request.deadline);
        let _place = place(&link.purges, hard).await?;
        let call = || wire::PurgeRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            keys: match &request.what {
                Purged::Keys(keys) => keys.iter().map(Key::to_bytes).collect(),
                Purged::Group => Vec::new(),
            },
            whole_group: matches!(request.what, Purged::Group),
            window_ms: table::millis(request.window),
            round: request.round,
            purge_id: request.id.0,
            source_version: request.source_version,
        };
        let answer = match link.exchange.ask(Call::Purge(call()), None, hard).await {
            Ok(Said::Purge(answer)) => answer,
            Err(Unanswered::NotServed) => {
                ended(timeout_at(hard, link.client.clone().purge(call())).await)?.into_inner()
            }
            other => return Err(failed(other)),
        };
        let version = self.shown(&link, &peer, answer.version.as_ref());
        Ok(PurgeAck { version, barred: answer.barred, generation: answer.generation })
    }

    pub(super) async fn store_at(&self, peer: &Member, request: StoreRequest) -> Result<StoreAck, PeerError> {
        let peer = self.now(peer);
        let (link, hard) = (self.link(&peer), request.deadline);
        let _place = place(&link.purges, hard).await?;
        let call = || wire::StoreRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            key: request.key.to_bytes(),
            value: Some(table::entry_to_wire(&request.entry, Instant::now())),
            generation: request.generation,
        };
        let said = match request.entry.value_bytes() {
            0..=LARGE_BYTES => link.exchange.ask(Call::Store(call()), None, hard).await,
            _ => Ok(Said::Large(wire::Large::default())),
        };
        let mut by_call = match said {
            Ok(Said::Store(answer)) => {
                let version = self.shown(&link, &peer, answer.version.as_ref());
                return Ok(StoreAck { version, stored: answer.stored });
            }
            Ok(Said::Large(_)) => link.bulk.clone(),
            Err(Unanswered::NotServed) => link.client.clone(),
            other => return Err(failed(other)),
        };
        let answer = ended(timeout_at(hard, by_call.store(call())).await)?.into_inner();
        let version = self.shown(&link, &peer, answer.version.as_ref());
        Ok(StoreAck { version, stored: answer.stored })
    }

    pub(super) async fn peek_at(&self, peer: &Member, request: PeekRequest) -> Result<Peeked, PeerError> {
        let peer = self.now(peer);
        let (link, hard) = (self.link(&peer), request.deadline);
        let _place = place(&link.places, hard).await?;
        let call = || wire::PeekRequest {
            caller: Some(self.caller(&peer, request.version)),
            group: request.group.to_string(),
            key: request.key.to_bytes(),
        };
        let mut by_call = match link.exchange.ask(Call::Peek(call()), None, hard).await {
            Ok(Said::Peek(answer)) => {
                let version = self.shown(&link, &peer, answer.version.as_ref());
                return Ok(Peeked { version, entry: answer.value.map(table::entry_from_wire) });
            }
            Ok(Said::Large(_)) => link.bulk.clone(),
            Err(Unanswered::NotServed) => link.client.clone(),
            other => return Err(failed(other)),
        };
        let answer = ended(timeout_at(hard, by_call.peek(call())).await)?.into_inner();
        let version = self.shown(&link, &peer, answer.version.as_ref());
        Ok(Peeked { version, entry: answer.value.map(table::entry_from_wire) })
    }

    pub(super) async fn beat_at(&self, peer: &Member, request: BeatRequest) -> Result<BeatReply, PeerError> {
        let peer = self.now(peer);
        let (link, hard) = (self.link(&peer), request.deadline);
        let call = || wire::BeatRequest { caller: Some(self.caller(&peer, request.version)) };
        let answer = match link.exchange.ask(Call::Beat(call()), None, hard).await {
            Ok(Said::Beat(answer)) => answer,
            Err(Unanswered::NotServed) => {
                ended(timeout_at(hard, link.client.clone().beat(call())).await)?.into_inner()
            }
            other => return Err(failed(other)),
        };
        let version = self.shown(&link, &peer, answer.version.as_ref());
        Ok(BeatReply { version, said: beaten(answer.outcome) })
    }

    pub(super) async fn bar_at(&self, peer: &Member, request: BarRequest) -> Result<BarAck, PeerError> {
        let peer = self.now(peer);
        let link = self.link(&peer);
        let call = wire::BarRequest {
            caller: Some(self.caller(&peer, request.version)),
            purge_id: request.id.0,
            nodes: request.nodes.to_vec(),
            lift: request.lift,
        };
        let answer = ended(timeout_at(request.deadline, link.client.clone().bar(call)).await)?.into_inner();
        let version = self.shown(&link, &peer, answer.version.as_ref());
        let remaining = answer.remaining.iter().map(|one| one.remaining_ms).max().unwrap_or(0);
        // Rounded down on the wire: one millisecond more is on the safe side.
        Ok(BarAck { version, remaining: Duration::from_millis(remaining.saturating_add(1)) })
    }

    pub(super) fn shown(&self, link: &Link, peer: &Member, version: Option<&wire::Version>) -> Version {
        link.breaker.heard();
        let version = convert::version(version);
        self.tell(&peer.name, version);
        version
    }
}

/// Why there is no answer of the kind that was asked for.
fn failed(said: Result<Said, Unanswered>) -> PeerError {
    match said {
        Ok(other) => instead(other),
        Err(Unanswered::Failed(error)) => error,
        Err(Unanswered::NotServed) => PeerError::Refused("it does not serve streams".into()),
    }
}

fn beaten(outcome: Option<beat_response::Outcome>) -> Beaten {
    match outcome {
        Some(beat_response::Outcome::Granted(granted)) => {
            Beaten::Granted(Duration::from_millis(granted.for_ms))
        }
        Some(beat_response::Outcome::Barred(_)) => Beaten::Barred,
        Some(beat_response::Outcome::Behind(_)) => Beaten::Behind,
        Some(beat_response::Outcome::Starting(starting)) => {
            Beaten::NotYet(Duration::from_millis(starting.for_ms))
        }
        None => Beaten::NotYet(Duration::ZERO),
    }
}
