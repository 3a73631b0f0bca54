//! What a node does with a call of another: what the real cluster port does, in the same order.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::group::{Answer, GetError, Group, Origin, Source};
use groupcache_group::peer::{KeysRequest, PeekManyRequest, StoreAck};
use groupcache_group::value::Key;
use groupcache_group::view::Place;
use groupcache_ring::Version;
use tokio::time::{Instant, sleep_until};

use crate::network::{Body, Call, Said};
use crate::node::Node;
use crate::peers::{carry, unpack};
use crate::plan::GROUP;
use crate::shared::{Shared, name};

/// A fetch without an answer gives a sign of life after so long, and again after so long.
const FIRST_SIGN: Duration = Duration::from_millis(50);
const NEXT_SIGN: Duration = Duration::from_secs(1);

/// How long a grantor tries to adopt the newer view of who beats it.
const CATCH_UP: Duration = Duration::from_millis(500);

/// Takes a call: a task at this node answers it.
pub fn take(node: &Arc<Node>, asker: usize, call: u64, version: Version, asked: Call) {
    node.shared.note("is asked", node.me, call, asker as u64);
    let fetch = matches!(asked, Call::Fetch(..));
    let task = tokio::spawn(answer(node.clone(), asker, call, version, asked));
    if fetch {
        let mut serving = node.serving.lock();
        serving.retain(|_, task| !task.is_finished());
        serving.insert(call, task.abort_handle());
    }
}

/// The asker waits no longer: neither does the task.
pub fn drop_call(node: &Node, call: u64) {
    if let Some(task) = node.serving.lock().remove(&call) {
        task.abort();
    }
}

async fn answer(node: Arc<Node>, asker: usize, call: u64, version: Version, asked: Call) {
    node.hear(asker, version);
    let shared = node.shared.clone();
    let reply = |said| {
        shared.network.lock().send(shared.now(), call, node.me, asker, Body::Said(said));
    };
    let said = match asked {
        Call::Fetch(key, left) => {
            let deadline = Instant::now() + left;
            fetch(&node, key, deadline, || reply(Said::Pending)).await
        }
        Call::Purge(request) => Said::Purged(node.groups.purge(&request)),
        Call::Store(key, carried, generation) => {
            let entry = unpack(carried, node.clock.now());
            let stored = node.group().is_some_and(|group| group.store(&key, &entry, generation));
            Said::Stored(StoreAck { version: node.version(), stored })
        }
        Call::Peek(key) => {
            let held = node.groups.held(GROUP, key.as_bytes());
            let carried = held.map(|entry| carry(&entry, node.clock.now()));
            Said::Peeked(node.version(), carried)
        }
        Call::Keys(limit) => keys(&node, asker, version, limit).await,
        Call::PeekMany(keys) => look(&node, keys, version),
        Call::Beat => {
            node.catch_up(asker, version, Instant::now() + CATCH_UP).await;
            Said::Beaten(node.groups.beaten(&name(asker), version))
        }
        Call::Bar(request) => Said::Barred(node.groups.bar(&request)),
        Call::Pull => Said::Snapshot(node.groups.view().map(|view| Arc::new(view.snapshot().clone()))),
        Call::Push(snapshot) => {
            node.adopt(&snapshot);
            Said::Adopted(node.version())
        }
    };
    reply(said);
}

/// The keys held here that the asker owns.
async fn keys(node: &Node, asker: usize, version: Version, limit: usize) -> Said {
    let request = KeysRequest { group: GROUP.into(), version, limit, deadline: Instant::now() };
    node.groups.keys_for(&name(asker), &request).await.map_or(Said::Refused, Said::Held)
}

/// What is held here of many keys.
fn look(node: &Node, keys: Vec<Key>, version: Version) -> Said {
    let request = PeekManyRequest { group: GROUP.into(), keys, version, deadline: Instant::now() };
    let now = node.clock.now();
    node.groups.held_of(&request).map_or(Said::Refused, |held| {
        let entries = held.entries.iter().map(|entry| entry.as_ref().map(|entry| carry(entry, now)));
        Said::PeekedMany(held.version, entries.collect())
    })
}

/// Answers as the owner, with signs of life.
async fn fetch(node: &Node, key: Key, deadline: Instant, sign: impl Fn()) -> Said {
    let Some(group) = node.group() else { return Said::Refused };
    let _asked = Asked::by_a_peer(node, &key);
    let mut answer = Box::pin(group.get(key.clone(), Origin::Peer, deadline));
    let mut next_sign = Instant::now() + FIRST_SIGN;
    let mut idle = 0;
    let foreign = foreign(node, &key);
    loop {
        tokio::select! {
            biased;
            answer = &mut answer => return said(node, &key, answer, foreign),
            () = sleep_until(next_sign) => {
                sign();
                next_sign = Instant::now() + NEXT_SIGN;
                idle = judge_wait(node, &group, &key, idle);
            }
        }
    }
}

/// A key that a peer asks for, until it is answered or waits no longer.
struct Asked {
    shared: Arc<Shared>,
    node: usize,
    key: usize,
}

impl Asked {
    fn by_a_peer(node: &Node, key: &Key) -> Self {
        let asked = Asked { shared: node.shared.clone(), node: node.me, key: node.shared.place_of(key) };
        asked.shared.judge.lock().reasons().asked(asked.node, asked.key);
        asked
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.judge.lock().reasons().answered(now, self.node, self.key);
    }
}

/// The version of the view by which another node owns the key; `None`: this one does, or nobody.
fn foreign(node: &Node, key: &Key) -> Option<Version> {
    let view = node.groups.view()?;
    matches!(view.owner(key.as_bytes()), Some(Place::Peer(_))).then(|| view.version())
}

fn said(node: &Node, key: &Key, answer: Result<Answer, GetError>, before: Option<Version>) -> Said {
    match answer {
        Ok(answer) => {
            // K6: a peer is answered from main or by a load. Only an owner asks further, by a peek.
            let further = answer.source == Source::Peer && before.is_some() && before == foreign(node, key);
            if answer.source == Source::Hot || further {
                let what = format!("n{} answered a peer's {key:?} from {:?}", node.me, answer.source);
                node.shared.judge.lock().broken(node.shared.now(), "K6", what);
            }
            let carried = carry(&answer.entry, node.clock.now());
            Said::Fetched(node.version(), Ok((carried, answer.keep)))
        }
        Err(GetError::Load(error)) => Said::Fetched(node.version(), Err(error)),
        Err(GetError::DeadlineExceeded) => Said::Late,
        Err(GetError::NotReady) => Said::Refused,
    }
}

/// A peer's Get waits for a load of this very node, or something goes round in circles. Between two loads there is none for a moment: it must be
/// found so twice. Answers how often it has been by now.
fn judge_wait(node: &Node, group: &Group, key: &Key, idle: u32) -> u32 {
    if node.shared.truth.lock().runs_at(node.shared.place_of(key), node.me) {
        return 0;
    }
    if idle > 0 {
        let flights = group.sizes().flights;
        let what = format!("n{} waits for {key:?} and loads nothing ({flights} flights)", node.me);
        node.shared.judge.lock().broken(node.shared.now(), "circle", what);
    }
    idle + 1
}
