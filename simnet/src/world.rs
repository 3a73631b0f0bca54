//! One run: a cluster comes up, is at peace, in trouble, heals, and ends; judged all the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use groupcache_group::simulation::{self, Rule};
use groupcache_sim::faults::Faults;
use groupcache_sim::judge::Broken;
use groupcache_sim::network::{Body, Call, Letter, Said};
use groupcache_sim::operator::{Change, Operator};
use groupcache_sim::plan::{OPERATOR, Plan};
use groupcache_sim::shared::{Shared, name};
use groupcache_sim::tally::Tally;
use tokio::sync::mpsc;
use turmoil::Sim;

use crate::app;
use crate::callers::{Callers, Order};
use crate::machine::Machine;
use crate::process;
use crate::pusher::{self, Answers, ON_THE_WAY, Push};
use crate::weather::{self, OPERATORS, Weather};

mod trouble;

/// How often it is looked whether all is calm, in milliseconds.
const LOOK: u64 = 50;

/// Without a fault or a new view for so long, what was before is over: broken connections are found within 4 s, and breakers closed.
const SETTLED: u64 = 6000;

/// The same where nothing was before.
const FRESH: u64 = 1000;

/// Coming up and healing may take so long.
const PATIENCE: u64 = 60_000;

/// What was called may take so long to be over when nobody calls any more: longer than a deadline.
const OVER: u64 = 35_000;

/// So much of the journal is shown before the first broken promise, in milliseconds.
const JOURNAL: u64 = 20_000;

/// Machines beside those that the run begins with.
const SPARE: usize = 1;

/// Most nodes that a run begins with: each costs processor time in every millisecond.
const MOST: usize = 4;

/// How a run is made.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Rules that are not in force.
    pub rules_off: Vec<Rule>,
    /// Keep the journal's events for [`Outcome::journal`].
    pub keep_journal: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// Figures.
    pub tally: Tally,
    /// Promises that were not kept.
    pub broken: Vec<Broken>,
    /// Tells this run from any other.
    pub digest: u64,
    /// What happened before the first broken promise, if it was kept.
    pub journal: String,
}

/// What this seed decides.
#[must_use]
pub fn plan(seed: u64) -> Plan {
    let plan = Plan::of(seed);
    Plan {
        nodes: plan.nodes.min(MOST),
        grantors: plan.grantors.min(3),
        bound: plan.bound.min(2000),
        window: plan.window + ON_THE_WAY,
        // Every byte costs more than in `groupcache-sim`, and every millisecond of every machine. Calm is judged from its fifth second on.
        gets: plan.gets / 3,
        removes: plan.removes * 2 / 3,
        calm: 8000,
        trouble: 12_000,
        ..plan
    }
}

/// Runs one seed to its end, or to the first broken promise.
///
/// # Panics
/// If the simulated network does not run.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    simulation::begin(seed, &options.rules_off);
    let mut world = World::new(&plan(seed), options.keep_journal);
    world.live();
    world.end()
}

struct World<'a> {
    shared: Arc<Shared>,
    net: Sim<'a>,
    weather: Weather,
    machines: Vec<Arc<Machine>>,
    /// Which machines have ever been started.
    known: Vec<bool>,
    operator: Operator,
    faults: Faults,
    callers: Callers,
    orders: mpsc::UnboundedSender<Order>,
    pushes: mpsc::UnboundedSender<Push>,
    answers: Answers,
    /// Members that drain, and when they leave.
    leaving: Vec<(u64, Change)>,
}

impl World<'_> {
    fn new(plan: &Plan, keep_journal: bool) -> Self {
        let machines: Vec<Arc<Machine>> = (0..plan.nodes + SPARE).map(Machine::new).collect();
        let pods: BTreeMap<usize, String> =
            (0..plan.nodes).map(|place| (place, machines[place].uid())).collect();
        let mut net = weather::network(plan);
        let shared = Shared::new(plan.clone(), keep_journal);
        let (orders, to_apps) = mpsc::unbounded_channel();
        let (pushes, to_operator) = mpsc::unbounded_channel();
        let answers = Answers::default();
        net.client(OPERATORS, pusher::run(Arc::clone(&shared), to_operator, Arc::clone(&answers)));
        net.client("apps", app::run(Arc::clone(&shared), machines.clone(), to_apps));
        let mut world = World {
            operator: Operator::new(plan, pods),
            faults: Faults::new(plan),
            callers: Callers::new(plan),
            weather: Weather::default(),
            known: vec![false; machines.len()],
            shared,
            net,
            machines,
            orders,
            pushes,
            answers,
            leaving: Vec::new(),
        };
        for place in 0..plan.nodes {
            world.start(place);
        }
        world
    }

    fn live(&mut self) {
        let plan = self.shared.plan.clone();
        if !self.until_calm("coming up", FRESH) || !self.steps(plan.calm, false) {
            return;
        }
        if !self.steps(plan.trouble, true) {
            return;
        }
        self.heal();
        if self.until_calm("healing", SETTLED) && self.steps(plan.calm, false) {
            self.wind_down();
        }
    }

    fn steps(&mut self, lasts: u64, trouble: bool) -> bool {
        for _ in 0..lasts {
            self.step(trouble, true, SETTLED);
            if self.is_broken() {
                return false;
            }
        }
        true
    }

    fn is_broken(&self) -> bool {
        !self.shared.judge.lock().broken.is_empty()
    }

    /// A millisecond.
    fn step(&mut self, trouble: bool, calls: bool, settled: u64) {
        let now = self.shared.pass();
        self.shared.judge.lock().at(now);
        if trouble {
            self.trouble(now);
        }
        self.leave(now);
        self.operate(now);
        if calls {
            for order in self.callers.step(&self.machines) {
                let _ = self.orders.send(order);
            }
        }
        self.net.step().expect("a node could not be started");
        if now.is_multiple_of(LOOK) {
            self.look(now, settled);
        }
    }

    /// What the operator publishes goes out, and what was answered comes back.
    fn operate(&mut self, now: u64) {
        if now.is_multiple_of(20) {
            self.operator.step(now, &self.shared);
        }
        let letters = self.shared.network.lock().arrived(now);
        for Letter { call, to: place, body, .. } in letters {
            if let Body::Call(_, Call::Push(snapshot)) = body {
                let uid = self.machines[place].uid();
                let _ = self.pushes.send(Push { call, place, uid, snapshot });
            }
        }
        let answers: Vec<_> = self.answers.lock().drain(..).collect();
        for answer in answers {
            let body = Body::Said(Said::Adopted(answer.version));
            let letter = Letter { call: answer.call, from: answer.place, to: OPERATOR, process: 0, body };
            self.operator.answered(now, &letter);
        }
    }

    fn start(&mut self, place: usize) {
        self.shared.note("starts", place, 0, 0);
        if self.known[place] {
            self.net.bounce(name(place));
            return;
        }
        let others = (0..self.machines.len()).filter(|other| self.known[*other]);
        self.weather.appears(place, others);
        self.known[place] = true;
        let (shared, machine) = (Arc::clone(&self.shared), Arc::clone(&self.machines[place]));
        self.net.host(name(place), move || process::run(Arc::clone(&shared), Arc::clone(&machine)));
        self.weather.set(&mut self.net, &self.faults, &self.shared.plan);
    }

    fn crash(&mut self, place: usize) {
        self.shared.note("crashes", place, 0, 0);
        self.machines[place].ends();
        self.net.crash(name(place));
    }

    /// Looks whether all is calm.
    fn look(&mut self, now: u64, settled: u64) {
        let newest = self.operator.newest().clone();
        let mut quiet =
            self.faults.present().next().is_none() && self.leaving.is_empty() && self.operator.is_at_rest();
        for machine in &self.machines {
            let Some(seen) = machine.seen() else { continue };
            let member = newest.member(&name(machine.place)).is_some();
            quiet &= seen.version == newest.version() && (seen.serves || !member);
        }
        self.shared.judge.lock().look(now, quiet, settled);
    }

    /// Waits until all is calm; false, and a broken promise, if that does not come.
    fn until_calm(&mut self, what: &str, settled: u64) -> bool {
        for _ in 0..PATIENCE {
            self.step(false, true, settled);
            if self.is_broken() {
                return false;
            }
            if self.shared.judge.lock().calm_since.is_some() {
                return true;
            }
        }
        let newest = self.operator.newest().clone();
        let seen: Vec<_> = self.machines.iter().map(|machine| (machine.place, machine.seen())).collect();
        let told = format!(
            "{what} took longer than {PATIENCE} ms; newest {} {:?}; seen {seen:?}",
            newest.version(),
            newest.members()
        );
        self.shared.judge.lock().broken(self.shared.now(), "liveness", told);
        false
    }

    /// Nobody calls any more: nothing may be left of what was called.
    fn wind_down(&mut self) {
        for _ in 0..OVER {
            self.step(false, false, SETTLED);
            if self.left().is_empty() {
                return;
            }
        }
        let what = format!("flights are left: {:?}", self.left());
        self.shared.judge.lock().broken(self.shared.now(), "base line", what);
    }

    /// Which machines have how many flights, and loads that run.
    fn left(&self) -> Vec<(usize, u64)> {
        let running = self.shared.truth.lock().running() as u64;
        let flights = self.machines.iter().filter_map(|one| Some((one.place, one.seen()?.flights)));
        flights.chain([(OPERATOR, running)]).filter(|(_, left)| *left > 0).collect()
    }

    fn end(self) -> Outcome {
        // The machines go first: what still runs on them ends as a crash ends it.
        drop(self.net);
        let judge = self.shared.judge.lock();
        let mut tally = judge.tally.clone();
        tally.simulated = self.shared.now();
        tally.loads = self.shared.truth.lock().loads();
        let journal = self.shared.journal();
        tally.events = journal.count();
        let since = judge.broken.first().map_or(0, |broken| broken.at.saturating_sub(JOURNAL));
        Outcome {
            seed: self.shared.plan.seed,
            broken: judge.broken.clone(),
            digest: journal.digest(),
            journal: journal.tail(since),
            tally,
        }
    }
}
