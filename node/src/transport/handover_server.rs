//! What this node shows of its main cache to a node that has come to own it: which keys there are, and what they hold.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::groups::Groups;
use groupcache_group::peer::{KeysRequest, PeekManyRequest};
use groupcache_group::value::{Entry, Key, Outcome};
use groupcache_proto::cluster as wire;
use groupcache_proto::convert;
use groupcache_ring::Version;
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use crate::transport::calls::{self, MAX_KEYS};
use crate::transport::control::Control;
use crate::transport::wire::entry_to_wire;

/// Keys in one part of a list: 1 MiB at most, if all are as long as a key may be by default.
const KEYS_IN_A_PART: usize = 1000;

/// How long this node may take to adopt the caller's newer view before it lists keys by its own.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Lists the keys that the caller owns, in parts.
pub(crate) async fn keys_of(
    groups: &Groups,
    control: &Arc<dyn Control>,
    request: wire::KeysOfRequest,
) -> Result<Vec<wire::KeysOfResponse>, Status> {
    let caller = request.caller.ok_or_else(|| Status::invalid_argument("the caller is missing"))?;
    let version = convert::version(caller.version.as_ref());
    let deadline = calls::deadline(Some(Duration::from_millis(request.deadline_ms)));
    control.catch_up(&caller.node, version, deadline.min(Instant::now() + CATCH_UP)).await;
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let asked = KeysRequest { group: request.group.into(), version, limit, deadline };
    let held = timeout_at(deadline, groups.keys_for(&caller.node, &asked)).await;
    let held =
        held.map_err(|_| Status::deadline_exceeded("the list was not ready"))?.ok_or_else(serves_nothing)?;
    let version = Some(convert::version_to_wire(held.version));
    let part =
        |keys: &[Key]| wire::KeysOfResponse { version, keys: keys.iter().map(Key::to_bytes).collect() };
    if held.keys.is_empty() {
        return Ok(vec![part(&[])]);
    }
    Ok(held.keys.chunks(KEYS_IN_A_PART).map(part).collect())
}

/// Shows what is held of many keys.
pub(crate) fn peek_many(
    groups: &Groups,
    request: wire::PeekManyRequest,
) -> Result<wire::PeekManyResponse, Status> {
    if request.keys.len() > MAX_KEYS {
        return Err(Status::invalid_argument(format!("{} keys; at most {MAX_KEYS}", request.keys.len())));
    }
    let limit = groups.get(&request.group).map_or(usize::MAX, |group| group.settings().max_key_bytes);
    let keys: Result<Vec<Key>, _> = request.keys.into_iter().map(|key| Key::new(key, limit)).collect();
    let keys = keys.map_err(|error| Status::invalid_argument(error.to_string()))?;
    let asked = PeekManyRequest {
        group: request.group.into(),
        keys,
        version: Version::PROVISIONAL,
        deadline: Instant::now(),
    };
    let held = groups.held_of(&asked).ok_or_else(serves_nothing)?;
    let entries =
        held.entries.iter().map(|entry| wire::PeekedEntry { value: entry.as_ref().and_then(shown) });
    Ok(wire::PeekManyResponse {
        version: Some(convert::version_to_wire(held.version)),
        entries: entries.collect(),
    })
}

/// An entry as another node may look at it; "no such key" is not shown, for it has no value.
pub(crate) fn shown(entry: &Entry) -> Option<wire::Entry> {
    matches!(entry.outcome, Outcome::Value(_)).then(|| entry_to_wire(entry, Instant::now()))
}

fn serves_nothing() -> Status {
    Status::failed_precondition("this node may serve no copies now; try again later")
}
