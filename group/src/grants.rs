//! Grants: how an unreachable node is known to have stopped serving copies, seen from one node.
//!
//! A node serves copies only while a majority of the grantors of every membership from the settled one on has granted it to (G1). So a Remove
//! that cannot reach a node has enough of them *bar* it, waits until the grants they gave before have run out, and may then succeed: the node is
//! known to serve nothing it held.
//!
//! [`asker`] is the half that needs grants, [`grantor`] the half that gives them, [`beats`] asks for them in time. All three are one node's:
//! its groups share them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use groupcache_ring::Version;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::expiry::after;
use crate::grants::asker::{Asker, Asking};
use crate::grants::grantor::Grantor;
use crate::peer::{BarAck, BeatReply, RemoveId};
use crate::simulation::{Rule, off};
use crate::view::View;

pub mod asker;
pub mod beats;
pub mod grantor;

/// The staleness bound unless the configuration says otherwise.
pub const DEFAULT_BOUND: Duration = Duration::from_secs(5);

/// How long a Get waits for the grants under a view that has just come into force: an answer of every grantor, and what it takes some of them to
/// fetch the view first. Beyond that the grantors are out of reach rather than slow, and waiting helps nobody.
const PATIENCE: Duration = Duration::from_millis(100);

/// What [`Grants::until`] holds where no grants are needed.
const ALWAYS: u64 = u64::MAX;

/// One node's grants, those it has and those it gives.
pub struct Grants {
    clock: Clock,
    born: Instant,
    /// Nanoseconds after `born` until which copies may be served: read in each Get.
    until: AtomicU64,
    /// Nanoseconds after `born` until which a Get may wait for the grants under the view in force; 0: they are there, or are not waited for.
    awaited: AtomicU64,
    /// They are there.
    arrived: Notify,
    asker: Mutex<Asker>,
    grantor: Mutex<Grantor>,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").field("serves", &self.serves(self.clock.now())).finish_non_exhaustive()
    }
}

impl Grants {
    /// A process that has begun now: it has no grant, and gives none for one staleness bound (G4).
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        let born = clock.now();
        Arc::new(Grants {
            born,
            until: AtomicU64::new(0),
            awaited: AtomicU64::new(0),
            arrived: Notify::new(),
            asker: Mutex::new(Asker::new(DEFAULT_BOUND)),
            grantor: Mutex::new(Grantor::new(born, DEFAULT_BOUND)),
            clock,
        })
    }

    /// The grants of a process that is its own whole cluster: it needs none.
    #[must_use]
    pub fn unneeded() -> Arc<Self> {
        let grants = Self::new(Clock::of_the_runtime());
        grants.until.store(ALWAYS, Ordering::Release);
        grants
    }

    /// The clock they run by.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// True if this node may serve copies at `now` (G1). The clock is to be read in the Get itself.
    #[must_use]
    #[inline]
    pub fn serves(&self, now: Instant) -> bool {
        self.nanos(now) < self.until.load(Ordering::Acquire) || off(Rule::Grants)
    }

    /// True if this node may serve copies at this moment: for whoever reports it. A Get reads the clock itself.
    #[must_use]
    pub fn serves_now(&self) -> bool {
        self.serves(self.clock.now())
    }

    /// True if no grants are needed: then nobody needs to read the clock for them.
    #[must_use]
    #[inline]
    pub fn are_unneeded(&self) -> bool {
        self.until.load(Ordering::Relaxed) == ALWAYS
    }

    /// A view comes into force (G2). `lapse` is called if copies must go at once.
    pub fn adopt(&self, view: &Arc<View>, lapse: impl FnOnce()) {
        if self.are_unneeded() {
            return;
        }
        let mut asker = self.asker.lock();
        let now = self.clock.now();
        let served = self.serves(now);
        let lapses = asker.adopt(view);
        if lapses {
            // Where nothing may be kept no grants will come.
            self.awaited.store(0, Ordering::Release);
            self.until.store(0, Ordering::Release);
            lapse();
            return;
        }
        // Grants are asked for at once; whoever did not serve before waits for more than an answer.
        if served {
            self.awaited.store(self.nanos(after(now, PATIENCE)), Ordering::Release);
        }
        self.publish(&mut asker);
    }

    /// True while a view has just come into force and its grants are not there yet.
    #[must_use]
    pub fn are_awaited(&self) -> bool {
        let awaited = self.awaited.load(Ordering::Acquire);
        awaited > 0 && self.nanos(self.clock.now()) < awaited
    }

    /// Waits for the grants under a view that has just come into force, until `deadline` at the latest; true if it was worth it: they are there now.
    ///
    /// Not to wait is safe, and dear: a Get without grants asks the source for what this node still holds.
    pub async fn wait_after_change(&self, deadline: Instant) -> bool {
        if !self.are_awaited() {
            return false;
        }
        let awaited = self.awaited.load(Ordering::Acquire);
        let left = awaited.saturating_sub(self.nanos(self.clock.now()));
        let until = deadline.min(after(Instant::now(), Duration::from_nanos(left)));
        let arrival = async {
            loop {
                let arrival = self.arrived.notified();
                if self.serves_now() {
                    return;
                }
                arrival.await;
            }
        };
        timeout_at(until, arrival).await.is_ok()
    }

    /// A new staleness bound for what is granted from now on.
    pub fn set_bound(&self, bound: Duration) {
        self.asker.lock().set_bound(bound);
        self.grantor.lock().set_bound(bound);
    }

    /// The staleness bound in force.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.asker.lock().bound()
    }

    /// A grant has come, for a beat that was sent at `sent` in that `term`. What has run out meanwhile lapses first (K5).
    pub fn granted(&self, by: &str, term: u64, sent: Instant, length: Duration, lapse: impl FnOnce()) {
        let mut asker = self.asker.lock();
        if asker.lapses(self.clock.now()) {
            self.until.store(0, Ordering::Release);
            lapse();
        }
        asker.enter(by, term, sent, length);
        self.publish(&mut asker);
    }

    /// Calls `lapse` if the coverage has run out (K5).
    pub fn lapse_if_due(&self, lapse: impl FnOnce()) {
        let mut asker = self.asker.lock();
        if asker.lapses(self.clock.now()) {
            self.until.store(0, Ordering::Release);
            lapse();
        }
    }

    /// When the coverage runs out if no further grant comes; `None`: there is none.
    #[must_use]
    pub fn covered_until(&self) -> Option<Instant> {
        self.asker.lock().covered_until()
    }

    /// Whom to ask for grants; `None` while no grant would be of any use.
    #[must_use]
    pub fn to_ask(&self) -> Option<Asking> {
        self.asker.lock().to_ask()
    }

    /// As a grantor: answers a beat of `asker` that has adopted `version` (G3, G4).
    #[must_use]
    pub fn beaten(&self, asker: &str, version: Version, mine: &View) -> BeatReply {
        self.grantor.lock().beaten(asker, version, mine, self.clock.now())
    }

    /// As a grantor: bars nodes for a Remove, or lifts its bars (R2, R4).
    #[must_use]
    pub fn bar(&self, id: RemoveId, nodes: &[String], lift: bool, mine: Version) -> BarAck {
        let mut grantor = self.grantor.lock();
        let now = self.clock.now();
        let remaining = if lift {
            grantor.lift(id, nodes);
            Duration::ZERO
        } else {
            grantor.bar(id, nodes, now)
        };
        BarAck { version: mine, remaining }
    }

    /// As a grantor: whom it still bars for a Remove; that renews the bars (R3).
    #[must_use]
    pub fn confirm(&self, id: RemoveId) -> Vec<String> {
        self.grantor.lock().confirm(id, self.clock.now())
    }

    /// Nodes that are barred here now, for whichever Remove.
    #[must_use]
    pub fn barred(&self) -> usize {
        self.grantor.lock().barred(self.clock.now())
    }

    /// The whole seconds of this process's life at that moment; 0 for one before it.
    #[inline]
    pub(crate) fn second(&self, at: Instant) -> u32 {
        u32::try_from(at.saturating_duration_since(self.born).as_secs()).unwrap_or(u32::MAX)
    }

    fn publish(&self, asker: &mut Asker) {
        let until = asker.cover().map_or(0, |until| self.nanos(until));
        self.until.store(until, Ordering::Release);
        if until > 0 {
            self.awaited.store(0, Ordering::Release);
            self.arrived.notify_waiters();
        }
    }

    fn nanos(&self, at: Instant) -> u64 {
        // One is added so that the first nanosecond of the process is not "never"; the end stays below ALWAYS.
        let nanos = u64::try_from(at.saturating_duration_since(self.born).as_nanos()).unwrap_or(ALWAYS - 2);
        nanos.min(ALWAYS - 2) + 1
    }
}

#[cfg(test)]
mod tests;
