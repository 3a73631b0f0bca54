//! Who calls: readers and removers at all nodes, some impatient, some that go away before they are answered.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_group::group::{Answer, GetError, Origin};
use groupcache_group::value::{Key, Outcome};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::host::Host;
use crate::judge::{AFTERMATH, Floor, Judge, Removing};
use crate::node::Node;
use crate::plan::Plan;
use crate::shared::Shared;

/// Deadlines of Gets and of Removes, in milliseconds.
const GET_DEADLINES: [u64; 8] = [5, 20, 100, 1000, 5000, 5000, 30_000, 30_000];
const REMOVE_DEADLINES: [u64; 8] = [5, 100, 1000, 5000, 20_000, 20_000, 30_000, 30_000];

/// A deadline with which a Remove can succeed although a node is away.
const FAIR: u64 = 20_000;

/// The callers.
#[derive(Debug)]
pub struct Clients {
    chance: Chance,
    gets: u64,
    removes: u64,
}

/// What a caller wants of a Remove.
enum Wanted {
    Keys(Vec<Key>),
    Set(Key, u64),
    Flush,
}

impl Clients {
    /// Callers as busy as planned.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Clients { chance: Chance::new(plan.seed, 6), gets: plan.gets, removes: plan.removes }
    }

    /// Calls what is due in this millisecond, at any of these machines.
    pub fn step(&mut self, shared: &Arc<Shared>, hosts: &[Host]) {
        let up: Vec<&Host> = hosts.iter().filter(|host| host.node().is_some()).collect();
        if up.is_empty() {
            return;
        }
        if self.chance.permille(self.gets) {
            let burst = if self.chance.permille(40) { self.chance.number(2, 8) } else { 1 };
            let key = self.key(shared);
            let same = self.chance.permille(500);
            let host = self.chance.place(up.len());
            for _ in 0..burst {
                let at = if same { host } else { self.chance.place(up.len()) };
                self.get(up[at], &[key]);
            }
            if self.chance.permille(60) {
                let mut some: Vec<usize> = (0..5).map(|_| self.key(shared)).collect();
                some.sort_unstable();
                some.dedup();
                self.get(up[host], &some);
            }
        }
        if self.chance.permille(self.removes) {
            let host = up[self.chance.place(up.len())];
            self.remove(shared, host);
        }
    }

    /// Some keys are asked for more often than others.
    fn key(&mut self, shared: &Shared) -> usize {
        self.chance.place(shared.keys.len()).min(self.chance.place(shared.keys.len()))
    }

    /// One Get, or one for several keys.
    fn get(&mut self, host: &Host, keys: &[usize]) {
        let allowed = self.chance.one_of(&GET_DEADLINES);
        let leaves = self.chance.permille(40).then(|| self.chance.number(1, 60));
        host.inside(|node| {
            let gets: Vec<Get> = keys.iter().map(|key| Get::called(node, *key)).collect();
            // By the clock of the node at the call: for one that is stopped, time then jumps.
            let deadline = Instant::now() + Duration::from_millis(allowed);
            tokio::spawn(async move {
                match leaves {
                    Some(after) => tokio::select! {
                        biased;
                        () = run(&gets, deadline) => {}
                        () = sleep(Duration::from_millis(after)) => {}
                    },
                    None => run(&gets, deadline).await,
                }
            });
        });
    }

    fn remove(&mut self, shared: &Arc<Shared>, host: &Host) {
        let allowed = self.chance.one_of(&REMOVE_DEADLINES);
        let leaves = self.chance.permille(30).then(|| self.chance.number(1, 300));
        let key = self.key(shared);
        let count = shared.keys.len();
        let places: Vec<usize> = match self.chance.number(0, 1000) {
            0..5 => (0..count).collect(),
            5..120 => {
                let mut some: Vec<usize> = (0..3).map(|_| self.chance.place(count)).collect();
                some.sort_unstable();
                some.dedup();
                some
            }
            _ => vec![key],
        };
        let set = places.len() == 1 && self.chance.permille(180);
        host.inside(|node| {
            let promised: Vec<(usize, u64)> = {
                let mut truth = shared.truth.lock();
                places.iter().map(|place| (*place, truth.bump(*place))).collect()
            };
            let wanted = if places.len() == count && count > 3 {
                Wanted::Flush
            } else if set {
                Wanted::Set(shared.keys[places[0]].clone(), promised[0].1)
            } else {
                Wanted::Keys(places.iter().map(|place| shared.keys[*place].clone()).collect())
            };
            let majority = node.groups.grants().serves(node.clock.now());
            shared.note("removes", node.me, promised[0].0 as u64, promised[0].1);
            let removing =
                shared.judge.lock().remove_called(promised, allowed >= FAIR && is_ready(node), majority);
            let ending = Ending { shared: shared.clone(), removing, allowed, over: false };
            let deadline = Instant::now() + Duration::from_millis(allowed);
            let node = node.clone();
            tokio::spawn(async move {
                let run = remove(node, wanted, ending, deadline);
                match leaves {
                    Some(after) => tokio::select! {
                        biased;
                        () = run => {}
                        () = sleep(Duration::from_millis(after)) => {}
                    },
                    None => run.await,
                }
            });
        });
    }
}

/// How much later than its deadline something ends, in milliseconds.
fn late(deadline: Instant) -> u64 {
    u64::try_from(Instant::now().saturating_duration_since(deadline).as_millis()).unwrap_or(u64::MAX)
}

/// A Get on its way.
struct Get {
    node: Arc<Node>,
    key: usize,
    floor: Floor,
    called: u64,
    /// True if the node was one that applications are pointed at.
    ready: bool,
}

/// Runs Gets of one caller to their ends.
async fn run(gets: &[Get], deadline: Instant) {
    let Some(first) = gets.first() else { return };
    let Some(group) = first.node.group() else { return };
    let keys: Vec<Key> = gets.iter().map(|get| get.node.shared.keys[get.key].clone()).collect();
    if let [key] = &keys[..] {
        first.judge(group.get(key.clone(), Origin::Client, deadline).await, deadline);
        return;
    }
    let answers = group.get_many(keys, Origin::Client, deadline, usize::MAX).await;
    for (get, answer) in gets.iter().zip(answers) {
        get.judge(answer, deadline);
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        self.node.shared.judge.lock().get_left(self.key);
    }
}

impl Get {
    fn called(node: &Arc<Node>, key: usize) -> Self {
        let floor = node.shared.judge.lock().get_called(key);
        Get { node: node.clone(), key, floor, called: node.shared.now(), ready: is_ready(node) }
    }

    fn judge(&self, answer: Result<Answer, GetError>, deadline: Instant) {
        let (shared, me) = (&self.node.shared, self.node.me);
        let now = shared.now();
        let late = late(deadline);
        match answer {
            Ok(Answer { entry, source, .. }) => {
                let value = value(&entry.outcome);
                shared.note("got", me, self.key as u64, value);
                let source = format!("{source:?}");
                let mut judge = shared.judge.lock();
                judge.got(now, me, self.key, value, self.floor, &source);
                judge.tally.hits += u64::from(source == "Main" || source == "Hot");
                judge.tally.hot_hits += u64::from(source == "Hot");
                self.judge_time(&mut judge, now, late);
            }
            Err(error) => {
                shared.note("got nothing", me, self.key as u64, late);
                let mut judge = shared.judge.lock();
                self.judge_time(&mut judge, now, late);
                self.judge_error(&mut judge, now, &error, Instant::now() < deadline);
            }
        }
    }

    fn judge_time(&self, judge: &mut Judge, now: u64, late: u64) {
        // A node that was stopped meanwhile could do nothing.
        if self.node.shared.woke(self.node.me) < self.called {
            judge.ended(now, "Get", self.node.me, late);
        }
    }

    fn judge_error(&self, judge: &mut Judge, now: u64, error: &GetError, early: bool) {
        let told = error.to_string();
        let (key, me) = (self.key, self.node.me);
        if told.contains("broke off") {
            judge.broken(now, "flight", format!("a Get of key-{key} at n{me}: {told}"));
        }
        let calm = judge.calm_since.is_some_and(|since| since + AFTERMATH < self.called);
        if early && calm && self.ready {
            judge.broken(now, "calm", format!("a Get of key-{key} at n{me} failed without a fault: {told}"));
        }
    }
}

/// True if the node knows a membership that it is in.
fn is_ready(node: &Node) -> bool {
    node.groups.view().is_some_and(|view| view.my_state().is_some())
}

fn value(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Value(bytes) => bytes.as_ref().try_into().map_or(u64::MAX, u64::from_le_bytes),
        Outcome::NotFound => u64::MAX,
    }
}

/// A Remove whose end is not known yet.
struct Ending {
    shared: Arc<Shared>,
    removing: Removing,
    allowed: u64,
    over: bool,
}

impl Ending {
    fn at(&mut self, succeeded: bool) {
        self.over = true;
        let window = self.shared.plan.window;
        let mut judge = self.shared.judge.lock();
        judge.remove_ended(&self.removing, Some(succeeded), self.shared.now() + window);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.over {
            // It runs on without its caller, or its process is gone. In calm its purges are done within a window.
            let window = self.shared.plan.window;
            let mut judge = self.shared.judge.lock();
            let allowed = if judge.calm_since.is_some() { window } else { self.allowed };
            judge.remove_ended(&self.removing, None, self.shared.now() + allowed + window);
        }
    }
}

async fn remove(node: Arc<Node>, wanted: Wanted, mut ending: Ending, deadline: Instant) {
    let Some(group) = node.group() else { return };
    let result = match wanted {
        Wanted::Keys(keys) => group.remove(keys, None, deadline).await.map_err(|error| error.to_string()),
        Wanted::Flush => group.flush(deadline).await.map_err(|error| error.to_string()),
        Wanted::Set(key, counter) => {
            // A node that was stopped has not heard of it before now.
            node.shared.judge.lock().set_called(ending.removing.keys[0].0, counter);
            let value = Bytes::copy_from_slice(&counter.to_le_bytes());
            group.set(key, value, None, None, deadline).await.map_err(|error| error.to_string())
        }
    };
    let (key, counter) = ending.removing.keys[0];
    let shared = node.shared.clone();
    shared.note(if result.is_ok() { "removed" } else { "failed to remove" }, node.me, key as u64, counter);
    let late = late(deadline);
    if shared.woke(node.me) < ending.removing.called {
        shared.judge.lock().ended(shared.now(), "Remove", node.me, late);
    }
    ending.at(result.is_ok());
}
