//! The half that gives grants: whom it grants, whom it bars, how long a grant may still run (G3, G4, R2 to R4).

use std::collections::HashMap;
use std::time::Duration;

use groupcache_ring::Version;
use tokio::time::Instant;

use crate::expiry::after;
use crate::peer::{BeatReply, Beaten, RemoveId};
use crate::simulation::{Rule, off};
use crate::view::View;

/// A bar lasts for so many staleness bounds after it was asked for or confirmed: a coordinator that died must not bar anyone for ever. One and a
/// window are needed for a Remove to succeed; the rest is for slow answers.
const BAR_BOUNDS: u32 = 3;

/// What is added to a grant's length when it is reckoned here: clocks that run at different speeds, by up to one part in so many, do no harm.
const DRIFT_SHARE: u32 = 64;

/// Most Removes that bar one node at a time; the next ones are refused their bar, and fail rather than pretend.
const MOST_BARS: usize = 4096;

/// What a node has granted and to whom it grants nothing. It knows no clock: whoever calls says what time it is.
#[derive(Debug)]
pub struct Grantor {
    bound: Duration,
    born: Instant,
    /// By name, when the last grant given is void, wherever it may be.
    lent: HashMap<String, Instant>,
    /// By name, the Removes that bar it, and when each bar lapses (R4: a bar belongs to one Remove).
    bars: HashMap<String, HashMap<RemoveId, Instant>>,
}

impl Grantor {
    /// A process that was born then: what its predecessor granted may still run for one bound.
    #[must_use]
    pub fn new(born: Instant, bound: Duration) -> Self {
        Grantor { bound, born, lent: HashMap::new(), bars: HashMap::new() }
    }

    /// A bound for the grants to come.
    pub fn set_bound(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// Answers a beat (G3, G4). `mine` is this node's view, which must not be older than the asker's.
    pub fn beaten(&mut self, asker: &str, version: Version, mine: &View, now: Instant) -> BeatReply {
        let said = self.judge(asker, version, mine, now);
        if matches!(said, Beaten::Granted(_)) {
            let void = after(now, self.reckoned());
            // One given before, under a longer bound, still runs.
            let last = self.lent.entry(asker.to_owned()).or_insert(void);
            *last = void.max(*last);
        }
        BeatReply { version: mine.version(), said }
    }

    fn judge(&mut self, asker: &str, version: Version, mine: &View, now: Instant) -> Beaten {
        if version < mine.version() {
            return Beaten::Behind;
        }
        // Newer than this node could adopt; or this process has the name of another pod, whose views and grants it does not know (K4).
        if version > mine.version() || mine.is_another_pods() {
            return Beaten::NotYet(Duration::ZERO);
        }
        let silent = self.silence(now);
        if !silent.is_zero() && !off(Rule::Silence) {
            return Beaten::NotYet(silent);
        }
        self.forget_lapsed(asker, now);
        if self.bars.contains_key(asker) && !off(Rule::Barred) {
            Beaten::Barred
        } else {
            Beaten::Granted(self.bound)
        }
    }

    /// Bars nodes for a Remove; answers for how long the last grant to one of them may still run (R2).
    pub fn bar(&mut self, id: RemoveId, nodes: &[String], now: Instant) -> Duration {
        let lapses = after(now, self.bound.saturating_mul(BAR_BOUNDS));
        let mut remaining = self.silence(now);
        for node in nodes {
            self.forget_lapsed(node, now);
            let bars = self.bars.entry(node.clone()).or_default();
            if bars.len() < MOST_BARS || bars.contains_key(&id) {
                bars.insert(id, lapses);
            }
            if let Some(void) = self.lent.get(node) {
                remaining = remaining.max(void.saturating_duration_since(now));
            }
        }
        remaining
    }

    /// Lifts this Remove's bars on nodes, not another one's (R4).
    pub fn lift(&mut self, id: RemoveId, nodes: &[String]) {
        for node in nodes {
            if let Some(bars) = self.bars.get_mut(node) {
                bars.remove(&id);
                if bars.is_empty() {
                    self.bars.remove(node);
                }
            }
        }
    }

    /// The nodes still barred for this Remove, whose bars are renewed by that (R3, R5).
    pub fn confirm(&mut self, id: RemoveId, now: Instant) -> Vec<String> {
        let lapses = after(now, self.bound.saturating_mul(BAR_BOUNDS));
        let mut held = Vec::new();
        for (node, bars) in &mut self.bars {
            if let Some(until) = bars.get_mut(&id).filter(|until| **until > now) {
                *until = lapses;
                held.push(node.clone());
            }
        }
        held
    }

    /// How many nodes are barred now.
    pub fn barred(&mut self, now: Instant) -> usize {
        let nodes: Vec<String> = self.bars.keys().cloned().collect();
        for node in nodes {
            self.forget_lapsed(&node, now);
        }
        self.bars.len()
    }

    /// What a predecessor may have granted runs for so long (G4).
    fn silence(&self, now: Instant) -> Duration {
        after(self.born, self.reckoned()).saturating_duration_since(now)
    }

    fn reckoned(&self) -> Duration {
        self.bound.saturating_add(self.bound / DRIFT_SHARE)
    }

    fn forget_lapsed(&mut self, node: &str, now: Instant) {
        if let Some(bars) = self.bars.get_mut(node) {
            bars.retain(|_, lapses| *lapses > now);
            if bars.is_empty() {
                self.bars.remove(node);
            }
        }
    }
}
