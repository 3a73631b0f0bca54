//! The cluster port's half of what keeps Removes true: purges, stores, beats and bars that other nodes ask for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_group::groups::Groups;
use groupcache_group::peer::{BarRequest, Beaten, PurgeRequest, Purged, RemoveId};
use groupcache_group::value::Key;
use groupcache_proto::cluster::{self as wire, beat_response};
use groupcache_proto::convert;
use groupcache_ring::Version;
use tokio::time::Instant;
use tonic::Status;

use crate::configuration::MAX_PURGE_TIMEOUT;
use crate::transport::calls::MAX_KEYS;
use crate::transport::control::Control;
use crate::transport::wire as table;

/// Most nodes that one call may bar: as many as a cluster may have.
const MAX_BARRED: usize = groupcache_ring::snapshot::MAX_MEMBERS;

/// How long a grantor that is behind its asker may take to fetch the newer snapshot before it says that it grants nothing yet.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Drops what a Remove, Set or Flush of another node's purges.
pub(crate) fn purge(
    groups: &Groups,
    boot: u64,
    request: wire::PurgeRequest,
) -> Result<wire::PurgeResponse, Status> {
    if request.keys.len() > MAX_KEYS {
        return Err(Status::invalid_argument(format!("{} keys; at most {MAX_KEYS}", request.keys.len())));
    }
    let what = if request.whole_group {
        Purged::Group
    } else {
        // A key that cannot be one is in no cache either.
        let limit = groups.get(&request.group).map_or(0, |group| group.settings().max_key_bytes);
        Purged::Keys(request.keys.into_iter().filter_map(|key: Bytes| Key::new(key, limit).ok()).collect())
    };
    let ack = groups.purge(&PurgeRequest {
        group: request.group.into(),
        what,
        window: Duration::from_millis(request.window_ms).min(MAX_PURGE_TIMEOUT),
        source_version: request.source_version,
        id: RemoveId(request.purge_id),
        round: request.round,
        version: Version::PROVISIONAL,
        deadline: Instant::now(),
    });
    Ok(wire::PurgeResponse {
        version: Some(convert::version_to_wire(ack.version)),
        boot,
        barred: ack.barred,
        generation: ack.generation,
    })
}

/// Stores a value that a client Set at another node.
pub(crate) fn store(groups: &Groups, request: wire::StoreRequest) -> Result<wire::StoreResponse, Status> {
    let entry = request.value.ok_or_else(|| Status::invalid_argument("the value is missing"))?;
    // A node that does not know the group keeps nothing of it.
    let stored = match groups.get(&request.group) {
        Some(group) => {
            let limit = group.settings().max_key_bytes;
            let key =
                Key::new(request.key, limit).map_err(|error| Status::invalid_argument(error.to_string()))?;
            group.store(&key, &table::entry_from_wire(entry), request.generation)
        }
        None => false,
    };
    let version = groups.view().map(|view| view.version()).unwrap_or_default();
    Ok(wire::StoreResponse { version: Some(convert::version_to_wire(version)), stored })
}

/// Grants another node the right to serve copies, or says why not. A newer view of the asker's is adopted first.
pub(crate) async fn beat(
    groups: &Groups,
    control: &Arc<dyn Control>,
    request: wire::BeatRequest,
) -> Result<wire::BeatResponse, Status> {
    let caller = request.caller.ok_or_else(|| Status::invalid_argument("the caller is missing"))?;
    let version = convert::version(caller.version.as_ref());
    control.catch_up(&caller.node, version, Instant::now() + CATCH_UP).await;
    let reply = groups.beaten(&caller.node, version);
    let outcome = match reply.said {
        Beaten::Granted(length) => {
            beat_response::Outcome::Granted(wire::Granted { for_ms: table::millis(length) })
        }
        Beaten::Barred => beat_response::Outcome::Barred(wire::Barred {}),
        Beaten::Behind => beat_response::Outcome::Behind(wire::Behind {}),
        Beaten::NotYet(time) => {
            beat_response::Outcome::Starting(wire::Starting { for_ms: table::millis(time) })
        }
    };
    Ok(wire::BeatResponse { version: Some(convert::version_to_wire(reply.version)), outcome: Some(outcome) })
}

/// Bars nodes for a Remove of another node's, or lifts its bars.
pub(crate) fn bar(groups: &Groups, request: wire::BarRequest) -> Result<wire::BarResponse, Status> {
    if request.nodes.len() > MAX_BARRED {
        return Err(Status::invalid_argument(format!("{} nodes; at most {MAX_BARRED}", request.nodes.len())));
    }
    let request = BarRequest {
        id: RemoveId(request.purge_id),
        nodes: request.nodes.into(),
        lift: request.lift,
        version: Version::PROVISIONAL,
        deadline: Instant::now(),
    };
    let ack = groups.bar(&request);
    let remaining = request
        .nodes
        .iter()
        .map(|node| wire::RemainingGrant { node: node.clone(), remaining_ms: table::millis(ack.remaining) });
    Ok(wire::BarResponse {
        version: Some(convert::version_to_wire(ack.version)),
        remaining: remaining.collect(),
    })
}
