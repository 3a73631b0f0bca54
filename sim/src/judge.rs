//! Who looks on: what was promised, and whether it was kept.

use std::sync::Arc;

use groupcache_group::value::Key;
use groupcache_group::view::View;

use crate::plan::Plan;
use crate::reasons::Reasons;
use crate::tally::Tally;
use crate::truth::Run;

/// How much later than its deadline a call may end, in milliseconds.
const ALLOWED: u64 = 50;

/// So long after calm has set in, something may still be on its way from before, in milliseconds: longer than a load may take.
pub const AFTERMATH: u64 = 4000;

/// Most broken promises that a run tells of.
const TOLD: usize = 20;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// When.
    pub at: u64,
    /// Which.
    pub promise: &'static str,
    /// What happened.
    pub what: String,
}

/// Whether there is trouble, and since when there is none or more of it.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Faults at this moment.
    faults: usize,
    /// Counts beginnings and ends of faults, and adopted views.
    changes: u64,
    /// When the last of them was.
    last: u64,
}

/// A Remove, Set or Flush that was called.
#[derive(Clone, Debug)]
pub struct Removing {
    /// The keys' places and the counters that it promises.
    pub keys: Vec<(usize, u64)>,
    /// When it was called.
    pub called: u64,
    /// True if it had a fair deadline.
    pub fair: bool,
    /// True if its coordinator could serve copies then, and had been reaching a majority.
    pub majority: bool,
    with_get: bool,
    changes: u64,
    faults: usize,
    settled_weather: bool,
}

/// What a Get must answer at least.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    value: u64,
    /// When the last Remove was called that promises it.
    called: u64,
}

/// The judge of one run.
#[derive(Debug)]
pub struct Judge {
    bound: u64,
    window: u64,
    floors: Vec<u64>,
    gets: Vec<u64>,
    removes: Vec<u64>,
    /// The latest call of a Remove that succeeded, by key.
    called: Vec<u64>,
    /// Sets by key: their counters and calls.
    sets: Vec<Vec<(u64, u64)>>,
    /// When the last Remove of the key ended.
    quiet: Vec<u64>,
    weather: Weather,
    /// From when on all is calm and everyone serves; `None`: it is not.
    pub calm_since: Option<u64>,
    now: u64,
    reasons: Reasons,
    /// Figures.
    pub tally: Tally,
    /// What was not kept.
    pub broken: Vec<Broken>,
}

impl Judge {
    /// Nothing promised yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Judge {
            bound: plan.bound,
            window: plan.window,
            floors: vec![0; plan.keys],
            gets: vec![0; plan.keys],
            removes: vec![0; plan.keys],
            called: vec![0; plan.keys],
            sets: vec![Vec::new(); plan.keys],
            quiet: vec![0; plan.keys],
            weather: Weather::default(),
            calm_since: None,
            now: 0,
            reasons: Reasons::new(plan),
            tally: Tally { seeds: 1, ..Tally::default() },
            broken: Vec::new(),
        }
    }

    /// A promise was not kept.
    pub fn broken(&mut self, at: u64, promise: &'static str, what: String) {
        if self.broken.len() < TOLD {
            self.broken.push(Broken { at, promise, what });
        }
    }

    /// It is so late now.
    pub fn at(&mut self, now: u64) {
        self.now = now;
    }

    /// A fault begins; `kind` is counted.
    pub fn fault_begins(&mut self, kind: &'static str) {
        *self.tally.faults.entry(kind).or_default() += 1;
        self.weather.faults += 1;
        self.changed();
        self.calm_since = None;
    }

    /// A fault ends.
    pub fn fault_ends(&mut self) {
        self.weather.faults -= 1;
        self.changed();
    }

    /// A node has adopted a view.
    pub fn view_changed(&mut self) {
        self.changed();
        self.calm_since = None;
    }

    /// Everyone serves by the newest view and nothing is wrong, or not: calm sets in once that has held for so long.
    pub fn look(&mut self, now: u64, quiet: bool, held: u64) {
        if !quiet || self.weather.faults > 0 {
            self.calm_since = None;
        } else if self.calm_since.is_none() && now >= self.weather.last + held {
            self.calm_since = Some(now);
        }
    }

    fn changed(&mut self) {
        self.weather.changes += 1;
        self.weather.last = self.now;
    }

    /// A Get is called; what it must answer at least.
    pub fn get_called(&mut self, key: usize) -> Floor {
        self.tally.gets += 1;
        self.gets[key] += 1;
        Floor { value: self.floors[key], called: self.called[key] }
    }

    /// A Get has ended, or its process has.
    pub fn get_left(&mut self, key: usize) {
        self.gets[key] -= 1;
    }

    /// P1: a Get has answered.
    pub fn got(&mut self, at: u64, node: usize, key: usize, value: u64, floor: Floor, source: &str) {
        self.tally.answered += 1;
        if value >= floor.value {
            return;
        }
        // A Set that was called not a window before the Remove may have its purge at the owner after it: they are at the same time, and have no order.
        let set = self.sets[key].iter().find(|(counter, _)| *counter == value);
        if set.is_some_and(|(_, called)| floor.called <= called + self.window) {
            self.tally.unordered += 1;
            return;
        }
        let (Floor { value: promised, .. }, set) =
            (floor, if set.is_some() { ", which was Set" } else { "" });
        let what =
            format!("n{node} answered {value}{set} for key-{key} from {source}, and {promised} was promised");
        self.broken(at, "P1", what);
    }

    /// A Set of that value is called.
    pub fn set_called(&mut self, key: usize, counter: u64) {
        self.sets[key].push((counter, self.now));
    }

    /// P5: a call has ended, so much later than its deadline.
    pub fn ended(&mut self, at: u64, what: &'static str, node: usize, late: u64) {
        self.tally.latest = self.tally.latest.max(late);
        if late > ALLOWED {
            self.broken(at, "P5", format!("a {what} at n{node} ended {late} ms after its deadline"));
        }
    }

    /// A Remove is called.
    pub fn remove_called(&mut self, keys: Vec<(usize, u64)>, fair: bool, majority: bool) -> Removing {
        self.tally.removes += 1;
        for (key, _) in &keys {
            self.removes[*key] += 1;
        }
        let Weather { faults, changes, last } = self.weather;
        Removing {
            with_get: keys.iter().any(|(key, _)| self.gets[*key] > 0),
            called: self.now,
            keys,
            fair,
            majority,
            changes,
            faults,
            settled_weather: self.now > last + self.bound + self.window,
        }
    }

    /// A Remove has ended; `None`: nobody knows how, and it may go on until then.
    pub fn remove_ended(&mut self, removing: &Removing, succeeded: Option<bool>, until: u64) {
        for (key, counter) in &removing.keys {
            self.removes[*key] -= 1;
            self.quiet[*key] = self.quiet[*key].max(until).max(self.now);
            if succeeded == Some(true) {
                self.floors[*key] = self.floors[*key].max(*counter);
                self.called[*key] = self.called[*key].max(removing.called);
            }
        }
        let across = removing.faults > 0 || self.weather.changes != removing.changes;
        self.tally.called_across += u64::from(across);
        let Some(succeeded) = succeeded else { return };
        self.tally.succeeded += u64::from(succeeded);
        self.tally.across += u64::from(succeeded && across);
        self.tally.with_get += u64::from(succeeded && removing.with_get);
        let count = |share: &mut (u64, u64)| {
            share.0 += 1;
            share.1 += u64::from(succeeded);
        };
        if removing.fair && !across && self.calm_since.is_some_and(|since| since < removing.called) {
            count(&mut self.tally.calm);
        } else if removing.fair && removing.faults > 0 && removing.settled_weather && removing.majority {
            count(&mut self.tally.troubled);
        }
    }

    /// P4: a load starts while others of the key run: at no time two that might have been one at a node, and in calm none at all.
    pub fn load_starts(&mut self, now: u64, key: usize, run: &Run, others: &[Run]) {
        let node = run.node;
        let twice = |other: &&Run| other.node == node && might_be_one(other, run);
        if let Some(Run { started, .. }) = others.iter().find(twice) {
            let what =
                format!("n{node} loads key-{key} and has been since {started}, without a purge between");
            self.broken(now, "P4", what);
        }
        let Some(since) = self.calm_since else { return };
        if self.removes[key] > 0 {
            return;
        }
        // What was queued while nobody might serve copies is still sent one by one.
        let quiet = (since + AFTERMATH).max(self.quiet[key]);
        if let Some(Run { node: other, started, .. }) = others.iter().find(|run| run.started > quiet) {
            let what = format!("n{node} loads key-{key} while n{other} has been since {started}");
            self.broken(now, "P4", what);
        }
    }

    /// What nodes have for reasons to load.
    pub fn reasons(&mut self) -> &mut Reasons {
        &mut self.reasons
    }

    /// P4: a load starts whose flight boarded so long ago by its node's clock: the node or a peer takes that node for the owner, or the owners could not be reached.
    pub fn load_has_a_reason(&mut self, now: u64, node: usize, key: usize, name: &Key, waited: u64) {
        if !self.reasons.has_one(now, node, key, name, waited) {
            let what = format!(
                "n{node} loads key-{key}, which it does not own, unasked, and without having failed to reach its owners"
            );
            self.broken(now, "P4", what);
        }
    }

    /// P4: a node asks another for a key, by that view: it is the owner, or the second one after the owner could not be reached.
    pub fn fetch_starts(
        &mut self,
        now: u64,
        node: usize,
        peer: &str,
        key: usize,
        name: &Key,
        view: &Arc<View>,
    ) {
        if !self.reasons.may_ask(now, node, peer, key, name, view) {
            let what = format!("n{node} asks {peer} for key-{key} without having failed to reach its owner");
            self.broken(now, "P4", what);
        }
    }
}

/// True if of the flights of two loads the later one was to join the earlier: the key was not purged between, and both are of a kind. A node's flights change
/// their kind with its grants, and then one of each may run.
fn might_be_one(one: &Run, other: &Run) -> bool {
    let flights = one.flying.zip(other.flying);
    // Either may have boarded first: one waits for its turn, or asks former owners, for longer.
    flights.is_some_and(|(one, other)| {
        one.shared == other.shared && one.generation >= other.purged && other.generation >= one.purged
    })
}
