//! One run: a cluster comes up, is at peace, in trouble, heals, and ends; judged all the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_group::simulation::{self, Rule};
use rustix::time::{ClockId, clock_gettime};

use crate::chance::Chance;
use crate::clients::Clients;
use crate::faults::Faults;
use crate::host::{Doing, Host};
use crate::judge::Broken;
use crate::network::{Body, Letter};
use crate::operator::{Change, Operator};
use crate::plan::{MOST_NODES, OPERATOR, Plan};
use crate::server;
use crate::shared::{Shared, name};
use crate::tally::Tally;

mod trouble;

/// How often it is looked whether all is calm, in milliseconds.
const LOOK: u64 = 50;

/// Without a fault or a new view for so long, what was before is over.
const SETTLED: u64 = 5000;

/// Coming up and healing may take so long.
const PATIENCE: u64 = 90_000;

/// So much of the journal is shown before the first broken promise, in milliseconds.
const JOURNAL: u64 = 60_000;

/// Tasks of a process that has nothing to do: beats, catching up, and a beat on its way to each grantor.
const IDLE_TASKS: usize = 2 + 7;

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
    /// Processor time it took.
    pub worked: Duration,
}

/// Runs one seed to its end, or to the first broken promise.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let began = worked();
    simulation::begin(seed, &options.rules_off);
    let mut world = World::new(Plan::of(seed), options.keep_journal);
    world.live();
    world.end(began)
}

/// Processor time of this thread.
fn worked() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

struct World {
    shared: Arc<Shared>,
    hosts: Vec<Host>,
    operator: Operator,
    faults: Faults,
    clients: Clients,
    chance: Chance,
    processes: u64,
    /// Members that drain, and when they leave; machines that are to stop then.
    leaving: Vec<(u64, Change)>,
}

impl World {
    fn new(plan: Plan, keep_journal: bool) -> Self {
        let mut chance = Chance::new(plan.seed, 7);
        let hours = |chance: &mut Chance| chance.number(0, 5) * 3_600_000 + chance.number(0, 1000);
        let hosts: Vec<Host> = (0..MOST_NODES)
            .map(|place| Host::new(place, hours(&mut chance), chance.number(0, 300)))
            .collect();
        let pods: BTreeMap<usize, String> =
            (0..plan.nodes).map(|place| (place, hosts[place].uid())).collect();
        let mut world = World {
            operator: Operator::new(&plan, pods),
            faults: Faults::new(&plan),
            clients: Clients::new(&plan),
            shared: Shared::new(plan, keep_journal),
            hosts,
            chance,
            processes: 0,
            leaving: Vec::new(),
        };
        for place in 0..world.shared.plan.nodes {
            world.start(place);
        }
        world
    }

    fn live(&mut self) {
        let plan = self.shared.plan.clone();
        if !self.until_calm("coming up") {
            return;
        }
        for (lasts, trouble) in [(plan.calm, false), (plan.trouble, true)] {
            for _ in 0..lasts {
                self.step(trouble, true);
                if self.is_broken() {
                    return;
                }
            }
        }
        self.heal();
        if !self.until_calm("healing") {
            return;
        }
        for _ in 0..plan.calm {
            self.step(false, true);
            if self.is_broken() {
                return;
            }
        }
        self.wind_down();
    }

    fn is_broken(&self) -> bool {
        !self.shared.judge.lock().broken.is_empty()
    }

    /// A millisecond.
    fn step(&mut self, trouble: bool, calls: bool) {
        let now = self.shared.pass();
        self.shared.judge.lock().at(now);
        if trouble {
            self.trouble(now);
        }
        self.leave(now);
        if now.is_multiple_of(20) {
            self.operator.step(now, &self.shared);
        }
        let arrived = self.shared.network.lock().arrived(now);
        for letter in arrived {
            self.deliver(now, letter);
        }
        if calls {
            self.clients.step(&self.shared, &self.hosts);
        }
        // Another one is first each time.
        let first = self.chance.place(MOST_NODES);
        for at in 0..MOST_NODES {
            self.hosts[(first + at) % MOST_NODES].tick();
        }
        if now.is_multiple_of(LOOK) {
            self.look(now);
        }
    }

    fn deliver(&mut self, now: u64, letter: Letter) {
        if letter.to == OPERATOR {
            self.operator.answered(now, &letter);
            return;
        }
        // What was sent to a process that is no more does not reach the next one.
        let mut network = self.shared.network.lock();
        let process = network.processes[letter.to];
        if process == 0 || process != letter.process {
            network.refuse(now, &letter);
            return;
        }
        match letter.body {
            Body::Said(said) => network.answered(letter.call, said),
            Body::Call(version, call) => {
                drop(network);
                self.hosts[letter.to]
                    .inside(|node| server::take(node, letter.from, letter.call, version, call));
            }
            Body::Gone => {
                drop(network);
                self.hosts[letter.to].inside(|node| server::drop_call(node, letter.call));
            }
        }
    }

    fn start(&mut self, place: usize) {
        self.processes += 1;
        self.shared.network.lock().began(place, self.processes);
        self.shared.note("starts", place, self.processes, 0);
        self.hosts[place].start(&self.shared);
    }

    fn crash(&mut self, place: usize) {
        let now = self.shared.now();
        self.shared.network.lock().ended(now, place);
        self.shared.note("crashes", place, 0, 0);
        let barred =
            self.hosts[place].inside(|node| node.group().map_or(0, |group| group.stats().removes_barred));
        self.shared.judge.lock().tally.barred += barred.unwrap_or(0);
        self.hosts[place].crash();
    }

    /// Looks whether all is calm, and whether anybody keeps what it may not.
    fn look(&mut self, now: u64) {
        let mut quiet =
            self.faults.present().next().is_none() && self.leaving.is_empty() && self.operator.is_at_rest();
        let newest = self.operator.newest().clone();
        for host in self.hosts.iter().filter(|host| host.doing == Doing::Running) {
            let looked = host.inside(|node| {
                let view = node.groups.view();
                let binds = view.as_ref().is_some_and(|view| {
                    view.my_state().is_some_and(|state| state != groupcache_ring::State::Joining)
                });
                let sizes = node.group().map(|group| group.sizes()).unwrap_or_default();
                let serves = node.groups.grants().serves(node.clock.now());
                (binds, serves, node.version(), sizes.main_entries + sizes.hot_entries)
            });
            let Some((binds, serves, version, entries)) = looked else { continue };
            if !binds && entries > 0 {
                let what = format!("n{} is Joining or no member, and keeps {entries} entries", host.place);
                self.shared.judge.lock().broken(now, "G6", what);
            }
            let member = newest.member(&name(host.place)).is_some();
            quiet &= version == newest.version() && (serves || !member);
        }
        self.shared.judge.lock().look(now, quiet, SETTLED);
    }

    /// Waits until all is calm; false, and a broken promise, if that does not come.
    fn until_calm(&mut self, what: &str) -> bool {
        for _ in 0..PATIENCE {
            self.step(false, true);
            if self.is_broken() {
                return false;
            }
            if self.shared.judge.lock().calm_since.is_some() {
                return true;
            }
        }
        let newest = self.operator.newest().clone();
        let states: Vec<String> = self
            .hosts
            .iter()
            .filter_map(|host| {
                host.inside(|node| {
                    let serves = node.groups.grants().serves(node.clock.now());
                    format!("n{} {} serves: {serves}", node.me, node.version())
                })
            })
            .collect();
        let told = format!(
            "{what} took longer than {PATIENCE} ms; newest {} {:?}; {states:?}",
            newest.version(),
            newest.members()
        );
        self.shared.judge.lock().broken(self.shared.now(), "liveness", told);
        false
    }

    /// Nobody calls any more: nothing may be left of what was called.
    fn wind_down(&mut self) {
        for _ in 0..40_000 {
            self.step(false, false);
            let flights =
                |host: &Host| host.inside(|node| node.group().map_or(0, |group| group.sizes().flights));
            let busy =
                |host: &Host| host.tasks() > IDLE_TASKS || flights(host).is_some_and(|flights| flights > 0);
            if !self.hosts.iter().any(busy) && self.shared.truth.lock().running() == 0 {
                break;
            }
        }
        for host in &self.hosts {
            let sizes = host.inside(|node| node.group().map(|group| group.sizes()).unwrap_or_default());
            let Some(sizes) = sizes else { continue };
            let tasks = host.tasks();
            if tasks > IDLE_TASKS || sizes.flights > 0 {
                let what = format!("n{} has {tasks} tasks and {} flights left", host.place, sizes.flights);
                self.shared.judge.lock().broken(self.shared.now(), "base line", what);
            }
            let purged = host.inside(|node| {
                let group = node.group()?;
                let keys = groupcache_group::peer::Purged::Keys(self.shared.keys.clone());
                group.purge(&keys, Duration::ZERO, None);
                Some(group.sizes())
            });
            let left = purged.flatten().unwrap_or_default();
            if left.main_bytes + left.hot_bytes + left.main_entries + left.hot_entries > 0 {
                let what = format!("n{} holds {left:?} after all keys were purged", host.place);
                self.shared.judge.lock().broken(self.shared.now(), "base line", what);
            }
        }
    }

    fn end(mut self, began: Duration) -> Outcome {
        for place in 0..MOST_NODES {
            self.crash(place);
        }
        let judge = self.shared.judge.lock();
        let mut tally = judge.tally.clone();
        tally.simulated = self.shared.now();
        tally.loads = self.shared.truth.lock().loads();
        tally.messages = self.shared.network.lock().sent();
        let journal = self.shared.journal();
        tally.events = journal.count();
        let since = judge.broken.first().map_or(0, |broken| broken.at.saturating_sub(JOURNAL));
        Outcome {
            seed: self.shared.plan.seed,
            broken: judge.broken.clone(),
            digest: journal.digest(),
            journal: journal.tail(since),
            worked: worked().saturating_sub(began),
            tally,
        }
    }
}
