//! Room for what loaders answer: bounded for the node, and shared so that no group takes all of it.
//!
//! A group may take more as long as it then holds no more than is still free. So one group gets to a half, two to a third each, and
//! however many stall, the next one finds some. Fixed shares were refused: with 64 groups they would be smaller than one value.
//! A group that holds nothing may take one value whenever it fits, so that no traffic of others keeps a large value waiting for ever.
//!
//! Nobody waits while holding: a reader asks once, or gives back before it asks for more. So whoever holds ends, and whoever waits is served.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// One answer counts for one part of this many of the room at most: a larger one could wait for ever where the room is small.
const LARGEST_PART: u64 = 2;

/// The room of a node. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Room {
    shared: Arc<Shared>,
}

/// The room as one group sees it. Cheap to clone; clones are the same group.
#[derive(Clone, Debug)]
pub struct GroupRoom {
    shared: Arc<Shared>,
    account: Arc<Account>,
}

/// Bytes taken from the room, given back when dropped.
#[derive(Debug)]
pub struct Reserved {
    shared: Arc<Shared>,
    account: Arc<Account>,
    bytes: u64,
}

#[derive(Debug)]
struct Shared {
    total: u64,
    /// Held for arithmetic and a look at who waits; nothing is dropped or told under it.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// In order of arrival. As many as there are loads in flight at most, which the guards bound.
    waiting: VecDeque<Waiter>,
}

/// What a group holds.
#[derive(Debug, Default)]
struct Account {
    /// Changed under the lock of the state only.
    held: AtomicU64,
}

#[derive(Debug)]
struct Waiter {
    account: Arc<Account>,
    bytes: u64,
    place: oneshot::Sender<Reserved>,
}

impl Room {
    /// A room of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total = bytes.max(1);
        let state = Mutex::new(State { free: total, waiting: VecDeque::new() });
        Room { shared: Arc::new(Shared { total, state }) }
    }

    /// The room for one more group, which holds nothing yet.
    #[must_use]
    pub fn group(&self) -> GroupRoom {
        GroupRoom { shared: Arc::clone(&self.shared), account: Arc::default() }
    }

    /// Bytes that are taken now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.shared.total - self.shared.state.lock().free
    }
}

impl GroupRoom {
    /// Takes `bytes`, and waits for them if need be; loads of one group get theirs in order. Whoever holds some must give them back first.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        let bytes = bytes.min((self.shared.total / LARGEST_PART).max(1));
        let waited = {
            let mut state = self.shared.state.lock();
            let first = !state.waiting.iter().any(|waiter| waiter.waits_for(&self.account));
            if first && state.take(&self.account, bytes) {
                return self.reserved(bytes);
            }
            let (place, waited) = oneshot::channel();
            state.waiting.push_back(Waiter { account: Arc::clone(&self.account), bytes, place });
            waited
        };
        // In this order, so that whoever leaves without a place is gone when those behind it have a look.
        let _settle = Settle(&self.shared);
        let waited = waited;
        // A place is never dropped untold while its waiter waits; bytes would only go uncounted.
        waited.await.unwrap_or_else(|_| self.reserved(0))
    }

    fn reserved(&self, bytes: u64) -> Reserved {
        Reserved { shared: Arc::clone(&self.shared), account: Arc::clone(&self.account), bytes }
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.free += self.bytes;
        self.account.held.fetch_sub(self.bytes, Ordering::Relaxed);
        drop(state);
        self.shared.settle();
    }
}

/// Looks at who waits when it is dropped.
struct Settle<'a>(&'a Arc<Shared>);

impl Drop for Settle<'_> {
    fn drop(&mut self) {
        self.0.settle();
    }
}

impl Shared {
    /// Gives room to everyone who may have it by now.
    fn settle(self: &Arc<Self>) {
        let granted = self.state.lock().grant();
        for Waiter { account, bytes, place } in granted {
            // If nobody waits any more it comes back here, and gives the bytes back.
            drop(place.send(Reserved { shared: Arc::clone(self), account, bytes }));
        }
    }
}

impl State {
    fn take(&mut self, account: &Account, bytes: u64) -> bool {
        let held = account.held.load(Ordering::Relaxed);
        let fair = held == 0 || held + bytes <= self.free.saturating_sub(bytes);
        let taken = bytes <= self.free && fair;
        if taken {
            self.free -= bytes;
            account.held.store(held + bytes, Ordering::Relaxed);
        }
        taken
    }

    /// Who may have theirs now, in order; nobody overtakes another load of the same group.
    fn grant(&mut self) -> Vec<Waiter> {
        let (mut granted, mut still) = (Vec::new(), VecDeque::new());
        for waiter in std::mem::take(&mut self.waiting) {
            if waiter.place.is_closed() {
                continue;
            }
            let behind = still.iter().any(|ahead: &Waiter| ahead.waits_for(&waiter.account));
            if !behind && self.take(&waiter.account, waiter.bytes) {
                granted.push(waiter);
            } else {
                still.push_back(waiter);
            }
        }
        self.waiting = still;
        granted
    }
}

impl Waiter {
    fn waits_for(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.account, account) && !self.place.is_closed()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::time::timeout;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Takes values of one mebibyte until the next would have to wait.
    fn fill(group: &GroupRoom) -> Vec<Reserved> {
        std::iter::from_fn(|| group.reserve(MIB).now_or_never()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_groups_stall_the_next_one_finds_room() {
        let room = Room::new(64 * MIB);
        let mut stalled = Vec::new();
        for (number, most) in [(1, 32), (2, 16), (3, 8), (4, 4), (5, 2)] {
            stalled.push(fill(&room.group()));
            assert_eq!(stalled.last().map(Vec::len), Some(most), "group {number}");
        }
        assert!(room.group().reserve(MIB).now_or_never().is_some());
        drop(stalled);
        assert_eq!(room.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_served_in_order_when_room_comes_back() {
        let room = Room::new(4 * MIB);
        let group = room.group();
        let mut held = fill(&group);
        assert_eq!(held.len(), 2);
        let mut large = Box::pin(group.reserve(2 * MIB));
        let mut small = Box::pin(group.reserve(1));
        assert!((&mut large).now_or_never().is_none());
        assert!((&mut small).now_or_never().is_none(), "it overtook the one before it");
        held.clear();
        let first = timeout(Duration::from_secs(1), large).await.expect("room for the large one");
        assert_eq!(room.taken(), 2 * MIB);
        assert!((&mut small).now_or_never().is_none(), "more than is still free");
        drop(first);
        timeout(Duration::from_secs(1), small).await.expect("room for the small one");
        assert_eq!(room.taken(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_makes_way_for_those_behind() {
        let room = Room::new(4 * MIB);
        let group = room.group();
        let _held = group.reserve(MIB).await;
        let large = timeout(Duration::from_secs(1), group.reserve(2 * MIB));
        let small = timeout(Duration::from_secs(2), group.reserve(MIB / 2));
        let (large, small) = tokio::join!(large, small);
        assert!(large.is_err() && small.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_larger_than_the_room_is_read_all_the_same() {
        let room = Room::new(MIB);
        let (one, other) = (room.group(), room.group());
        let first = one.reserve(8 * MIB).await;
        assert_eq!(room.taken(), MIB / 2);
        let _second = other.reserve(8 * MIB).await;
        // The same group waits for its first, and is served once that is through.
        let mut again = Box::pin(one.reserve(8 * MIB));
        assert!((&mut again).now_or_never().is_none());
        drop(first);
        timeout(Duration::from_secs(1), again).await.expect("its turn");
    }
}
