//! Taking over: after a change of the ring this node pulls what it has come to own, what was used last first.
//!
//! It pulls, because a value that is pushed carries no fence: a purge may have overtaken it on its way. What is pulled is kept under the generation
//! that stood before it was asked for, like a fetch (K1), and not inside a window (K2).

use std::sync::{Arc, Weak};
use std::time::Duration;

use groupcache_ring::State;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::cache::Half;
use crate::expiry::after;
use crate::generation::Start;
use crate::group::former::FORMER_FOR;
use crate::group::{Group, Part, is_mine};
use crate::peer::{KeysRequest, PeekManyRequest, PeerError};
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::{Entry, Key};
use crate::view::View;

/// Keys that are asked of one member: the hottest ones carry most Gets, and the list must stay small. What is not on it is peeked when it is asked for.
const MOST_KEYS: usize = 50_000;

/// Keys that are looked for in one call.
const KEYS_IN_A_CALL: usize = 64;

/// Bytes of values a second for one group: a quarter of a gigabit link, so that Gets have the rest.
const BYTES_PER_SECOND: u64 = 32 << 20;

/// How long a member may take to list its keys: it looks at everything it holds, for one asker after the other.
const LIST_TIME: Duration = Duration::from_secs(10);

/// How long a member may take for one call's keys.
const PULL_TIME: Duration = Duration::from_secs(2);

/// A take-over ends once it has pushed out one entry for so many that it has brought: a store that is cut into shards evicts from the first full one.
const EVICTED_SHARE: u64 = 16;

/// Before another try, while this node or the member may not serve copies yet, or the member has not heard of the change.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a member may be of no help before the next one is asked: the change is everywhere by then, or the member is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The take-over that is under way, ended by the next one and with its group.
#[derive(Debug, Default)]
pub(super) struct TakingOver(Mutex<Option<AbortHandle>>);

impl TakingOver {
    fn replace(&self, new: Option<AbortHandle>) {
        let former = std::mem::replace(&mut *self.0.lock(), new);
        if let Some(former) = former {
            former.abort();
        }
    }
}

impl Drop for TakingOver {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// How a call ended.
enum Step {
    /// So many keys are dealt with, and so much has come.
    Done { keys: usize, bytes: u64, taken: u64 },
    /// Not now; a later try may do.
    Later,
    /// There is nobody to be asked.
    Over,
}

/// Keys that are asked for in one call, and what is to be known of them until the answer is there.
struct Asked {
    keys: Vec<Key>,
    /// What held before the call (K1), for each of them.
    starts: Vec<(u64, Start)>,
    max_value_bytes: usize,
}

/// How far a take-over may fill the cache: until it is nearly full, or until it pushes out more than a little.
struct Room {
    evictions: u64,
    taken: u64,
}

impl Room {
    fn is_left(&self, main: &Half) -> bool {
        let evicted = main.evictions().saturating_sub(self.evictions);
        !main.is_nearly_full() && evicted <= self.taken / EVICTED_SHARE
    }
}

impl Group {
    /// Begins to take over what the view in force gives to this node, and ends what was begun for the one before it.
    pub(super) fn begin_taking_over(self: &Arc<Self>) {
        let state = self.state.load();
        let owner = state.view().filter(|view| view.my_state() == Some(State::Active));
        let holders = owner.map(|view| state.formers.holders(view)).unwrap_or_default();
        let task = Handle::try_current().ok().filter(|_| !holders.is_empty()).map(|runtime| {
            let group = Arc::downgrade(self);
            // What a former ring held is of no use for longer than that ring counts.
            let all = async move {
                let _ = timeout(FORMER_FOR, take_over(&group, &holders)).await;
            };
            runtime.spawn(all).abort_handle()
        });
        self.taking_over.replace(task);
    }

    /// The keys that `holder` holds of those that this node owns.
    async fn keys_at(&self, holder: &str) -> Result<Vec<Key>, Step> {
        let (view, serves) = self.view_to_ask_by().ok_or(Step::Over)?;
        let member = view.known(holder).ok_or(Step::Over)?;
        if !serves {
            return Err(Step::Later);
        }
        let deadline = after(Instant::now(), LIST_TIME);
        let request =
            KeysRequest { group: self.name.clone(), version: view.version(), limit: MOST_KEYS, deadline };
        let held = timeout_at(deadline, self.peers.keys_of(member, request)).await;
        match held.unwrap_or(Err(PeerError::DeadlineExceeded)) {
            Ok(held) if held.version >= view.version() => {
                self.counters.add_many(Count::Offered, held.keys.len() as u64);
                Ok(held.keys)
            }
            // By its view these keys are not this node's yet.
            Ok(_) => Err(Step::Later),
            Err(error) => Err(self.not_yet(holder, &error)),
        }
    }

    /// Takes the first ones of `keys` over from `holder`, as many as one call may bring.
    async fn pull(&self, holder: &str, keys: &[Key]) -> Step {
        let keys = &keys[..keys.len().min(KEYS_IN_A_CALL)];
        let now = self.grants.clock().now();
        // The generations first, the view after them: see `Group::sent`.
        let started = |key: &Key| {
            let hash = self.hasher.hash_one(key);
            (hash, self.generations.start(hash, now))
        };
        let starts: Vec<(u64, Start)> = keys.iter().map(started).collect();
        let Some((view, serves)) = self.view_to_ask_by() else { return Step::Over };
        // A window that is open for all of them is the one with which a process begins (K4).
        if !serves || starts.iter().all(|(_, start)| is_shut(start)) {
            return Step::Later;
        }
        let wanted = self.of_use(&view, keys, &starts, now);
        let Some(member) = view.known(holder) else { return Step::Over };
        if wanted.is_empty() {
            return Step::Done { keys: keys.len(), bytes: 0, taken: 0 };
        }
        let asked = Asked {
            keys: wanted.iter().map(|at| keys[*at].clone()).collect(),
            starts: wanted.iter().map(|at| starts[*at]).collect(),
            max_value_bytes: self.settings().max_value_bytes,
        };
        let deadline = after(Instant::now(), PULL_TIME);
        let (group, version) = (self.name.clone(), view.version());
        let request = PeekManyRequest { group, keys: asked.keys.clone(), version, deadline };
        let peeked = timeout_at(deadline, self.peers.peek_many(member, request)).await;
        match peeked.unwrap_or(Err(PeerError::DeadlineExceeded)) {
            Ok(peeked) if peeked.entries.is_empty() => Step::Later,
            Ok(peeked) => {
                let keys = wanted.get(peeked.entries.len()).copied().unwrap_or(keys.len());
                let (bytes, taken) = self.keep_all(&asked, peeked.entries);
                Step::Done { keys, bytes, taken }
            }
            Err(error) => self.not_yet(holder, &error),
        }
    }

    /// The view in force, and whether this node may serve copies by it.
    fn view_to_ask_by(&self) -> Option<(Arc<View>, bool)> {
        let state = self.state.load();
        let serves = state.serves(self.grants.clock().now());
        state.view.clone().map(|view| (view, serves))
    }

    /// The places of the keys that are this node's, not here yet, and not in their windows (K2).
    fn of_use(&self, view: &View, keys: &[Key], starts: &[(u64, Start)], now: Instant) -> Vec<usize> {
        let state = self.state.load();
        let of_use = |at: &usize| {
            let key = &keys[*at];
            let held = || state.cache.main.peek(key.as_bytes(), now).is_some();
            let fits = key.as_bytes().len() <= state.settings.max_key_bytes;
            fits && !is_shut(&starts[*at].1) && is_mine(view, key) && !held()
        };
        (0..keys.len()).filter(of_use).collect()
    }

    /// Keeps what has come; answers how many bytes that was, and how many entries are kept.
    fn keep_all(&self, asked: &Asked, entries: Vec<Option<Entry>>) -> (u64, u64) {
        let (mut bytes, mut taken) = (0, 0);
        for ((key, (hash, start)), entry) in asked.keys.iter().zip(&asked.starts).zip(entries) {
            let Some(entry) = entry else { continue };
            bytes += entry.value_bytes() as u64;
            let fits = entry.value_bytes() <= asked.max_value_bytes;
            let of_use = fits && !entry.is_expired(self.grants.clock().now());
            let room = !self.state.load().cache.main.is_nearly_full();
            // A load or Set that came meanwhile is newer.
            let absent = |present: Option<_>| present.is_none();
            if of_use && room && self.keep_if(Part::Main, key, *hash, &entry, start.generation, absent) {
                taken += 1;
            }
        }
        self.counters.add_many(Count::TakenOver, taken);
        (bytes, taken)
    }

    fn not_yet(&self, holder: &str, error: &PeerError) -> Step {
        tracing::debug!(group = %self.name, holder, %error, "cannot take entries over yet");
        Step::Later
    }
}

/// From one holder after the other: all at once, and their lists would be too large.
async fn take_over(group: &Weak<Group>, holders: &[String]) {
    let Some(evictions) = group.upgrade().map(|group| group.state.load().cache.main.evictions()) else {
        return;
    };
    let mut room = Room { evictions, taken: 0 };
    for holder in holders {
        if take_over_from(group, holder, &mut room).await.is_none() {
            return;
        }
    }
}

/// `None` if nothing more can be taken over from anyone.
async fn take_over_from(group: &Weak<Group>, holder: &str, room: &mut Room) -> Option<()> {
    let mut helped = Instant::now();
    let keys = loop {
        match group.upgrade()?.keys_at(holder).await {
            Ok(keys) => break keys,
            Err(Step::Later) if helped.elapsed() < PATIENCE => sleep(PAUSE).await,
            Err(_) => return Some(()),
        }
    };
    let mut rest = &keys[..];
    helped = Instant::now();
    while !rest.is_empty() {
        if !room.is_left(&group.upgrade()?.state.load().cache.main) {
            return None;
        }
        match group.upgrade()?.pull(holder, rest).await {
            Step::Done { keys, bytes, taken } => {
                rest = &rest[keys..];
                room.taken += taken;
                helped = Instant::now();
                sleep(Duration::from_micros(bytes * 1_000_000 / BYTES_PER_SECOND)).await;
            }
            Step::Later if helped.elapsed() < PATIENCE => sleep(PAUSE).await,
            Step::Later | Step::Over => return Some(()),
        }
    }
    Some(())
}

/// True inside the key's window: nothing is taken over then (K2).
fn is_shut(start: &Start) -> bool {
    start.in_window && !off(Rule::WindowedPeeks)
}
