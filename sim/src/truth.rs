//! The source of truth: a counter per key, who loads it now, and what the source is like.

use groupcache_group::simulation::Flying;

use crate::chance::Chance;
use crate::plan::Plan;

/// What the source is like at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Quick, now and then slow.
    #[default]
    Well,
    /// Hundreds of milliseconds to seconds.
    Slow,
    /// Every second load fails.
    Failing,
    /// Every third load panics.
    Panicking,
    /// Every third load never answers.
    Hanging,
}

/// A load that runs.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Which.
    pub id: u64,
    /// At which node.
    pub node: usize,
    /// When it started.
    pub started: u64,
    /// The flight that it is for.
    pub flying: Option<Flying>,
}

/// The counters, and who loads them now.
#[derive(Debug)]
pub struct Truth {
    chance: Chance,
    counters: Vec<u64>,
    running: Vec<Vec<Run>>,
    loads: u64,
    /// What it is like now.
    pub mood: Mood,
}

/// How a load will go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// It answers after so many milliseconds.
    Answers(u64),
    /// It fails then.
    Fails(u64),
    /// It panics then.
    Panics(u64),
    /// It never ends by itself.
    Hangs,
}

impl Truth {
    /// All counters at zero.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Truth {
            chance: Chance::new(plan.seed, 3),
            counters: vec![0; plan.keys],
            running: vec![Vec::new(); plan.keys],
            loads: 0,
            mood: Mood::Well,
        }
    }

    /// Changes a key; its new counter.
    pub fn bump(&mut self, key: usize) -> u64 {
        self.counters[key] += 1;
        self.counters[key]
    }

    /// True if that node loads that key now.
    #[must_use]
    pub fn runs_at(&self, key: usize, node: usize) -> bool {
        self.running[key].iter().any(|run| run.node == node)
    }

    /// Loads so far.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.loads
    }

    /// Loads that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.iter().map(Vec::len).sum()
    }

    /// A load starts at a node: its number is given here. Answers it, the counter as it stands, the loads that run already, and how it will go.
    pub fn start(&mut self, key: usize, run: Run) -> (Run, u64, Vec<Run>, Course) {
        self.loads += 1;
        let others = self.running[key].clone();
        let run = Run { id: self.loads, ..run };
        self.running[key].push(run);
        (run, self.counters[key], others, self.course())
    }

    /// A load has ended, however it did.
    pub fn end(&mut self, key: usize, id: u64) {
        self.running[key].retain(|run| run.id != id);
    }

    fn course(&mut self) -> Course {
        let chance = &mut self.chance;
        let quick = if chance.permille(50) { chance.number(50, 600) } else { chance.number(1, 12) };
        match self.mood {
            Mood::Slow => Course::Answers(chance.number(100, 2500)),
            Mood::Failing if chance.permille(500) => Course::Fails(quick),
            Mood::Panicking if chance.permille(333) => Course::Panics(quick),
            Mood::Hanging if chance.permille(333) => Course::Hangs,
            _ => Course::Answers(quick),
        }
    }
}
