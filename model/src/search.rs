//! Breadth-first search of everything that can happen: the shortest way to a broken promise, or none.

use crate::judge::Violation;
use crate::model::{Model, Step};
use crate::pack::{pack, unpack};
use crate::seen::Seen;
use crate::world::{Phase, World};

/// How a search stands; told about once per 65,536 states expanded.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// States found.
    pub found: usize,
    /// States whose steps have all been followed.
    pub expanded: usize,
    /// Steps from the start to the states that are being expanded.
    pub depth: usize,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Every state was expanded and none breaks the promise.
    Exhausted,
    /// The limit of states was reached first; none found breaks the promise.
    CutShort,
    /// A Get breaks the promise; the steps that lead there, each with the world after it.
    Broken(Violation, Vec<(Step, World)>),
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub verdict: Verdict,
    /// States found.
    pub states: usize,
    /// The longest of the shortest ways to a state, in steps.
    pub depth: usize,
    /// States in which the Remove had just succeeded: without any the search proves nothing.
    pub successes: usize,
    /// Among these, states after a second round.
    pub after_bars: usize,
}

impl Outcome {
    /// The length of the counterexample, if there is one.
    #[must_use]
    pub fn steps(&self) -> Option<usize> {
        match &self.verdict {
            Verdict::Broken(_, way) => Some(way.len()),
            Verdict::Exhausted | Verdict::CutShort => None,
        }
    }
}

impl Model {
    /// Searches until all is seen, `limit` states are found, or a promise is broken.
    pub fn search(&self, limit: usize, mut watch: impl FnMut(Progress)) -> Outcome {
        let mut seen = Seen::new();
        let first = self.start();
        seen.add(pack(&first), 0);
        let mut outcome =
            Outcome { verdict: Verdict::Exhausted, states: 1, depth: 0, successes: 0, after_bars: 0 };
        let (mut expanded, mut layer_end) = (0, 1);
        let mut broken = None;
        let mut next = Vec::new();
        while expanded < seen.len() && broken.is_none() {
            if expanded == layer_end {
                layer_end = seen.len();
                outcome.depth += 1;
            }
            if expanded % (1 << 16) == 0 {
                watch(Progress { found: seen.len(), expanded, depth: outcome.depth });
            }
            if seen.len() >= limit {
                outcome.verdict = Verdict::CutShort;
                break;
            }
            let from = *seen.state(expanded);
            let world = unpack(&from);
            next.clear();
            self.each_step(&world, &mut |step, to| {
                if step == Step::Succeed {
                    outcome.successes += 1;
                    outcome.after_bars += usize::from(world.remove.phase != Phase::Round1);
                }
                let packed = pack(&to);
                if packed != from && (self.to_the_end || !Self::harmless(&to)) {
                    next.push((packed, to.remove.phase == Phase::Done));
                }
            });
            std::hint::black_box(seen.warm(next.iter().map(|(state, _)| state)));
            for (state, done) in next.drain(..) {
                if seen.add(state, expanded) && done && broken.is_none() {
                    let number = seen.len() - 1;
                    broken = self.violation(&unpack(&state)).map(|violation| (violation, number));
                }
            }
            expanded += 1;
        }
        outcome.states = seen.len();
        if let Some((violation, last)) = broken {
            outcome.verdict = Verdict::Broken(violation, self.way(&seen, last));
        }
        outcome
    }

    /// The steps from the start to the state of this number.
    fn way(&self, seen: &Seen, last: usize) -> Vec<(Step, World)> {
        let mut numbers = vec![last];
        let mut at = last;
        while at != 0 {
            at = seen.parent(at);
            numbers.push(at);
        }
        numbers.reverse();
        let mut way = Vec::new();
        for pair in numbers.windows(2) {
            let (from, to) = (unpack(seen.state(pair[0])), unpack(seen.state(pair[1])));
            let mut found = None;
            self.each_step(&from, &mut |step, next| {
                if next == to && found.is_none() {
                    found = Some(step);
                }
            });
            way.extend(found.map(|step| (step, to)));
        }
        way
    }
}
