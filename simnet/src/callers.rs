//! Who decides to call: what, when and where, all of it from the seed and none of it from what came of it.

use std::sync::Arc;

use groupcache_sim::chance::Chance;
use groupcache_sim::plan::Plan;

use crate::machine::Machine;

/// Deadlines of Gets and of Removes, in milliseconds.
const GET_DEADLINES: [u64; 8] = [5, 20, 100, 1000, 5000, 5000, 30_000, 30_000];
const REMOVE_DEADLINES: [u64; 8] = [5, 100, 1000, 5000, 20_000, 20_000, 30_000, 30_000];

/// What is called.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// A Get, or a GetMany for several keys.
    Get,
    /// A Remove, or a RemoveMany for several keys.
    Remove,
    /// A Set.
    Set,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Order {
    /// What.
    pub wanted: Wanted,
    /// The keys' places.
    pub keys: Vec<usize>,
    /// At which node.
    pub at: usize,
    /// How long it may take, in milliseconds.
    pub allowed: u64,
    /// When its caller goes away, in milliseconds.
    pub leaves: Option<u64>,
}

/// The callers.
#[derive(Debug)]
pub struct Callers {
    chance: Chance,
    keys: usize,
    gets: u64,
    removes: u64,
}

impl Callers {
    /// Callers as busy as planned.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let (keys, gets, removes) = (plan.keys, plan.gets, plan.removes);
        Callers { chance: Chance::new(plan.seed, 6), keys, gets, removes }
    }

    /// What is called in this millisecond.
    pub fn step(&mut self, machines: &[Arc<Machine>]) -> Vec<Order> {
        let up: Vec<usize> =
            machines.iter().filter(|one| one.seen().is_some()).map(|one| one.place).collect();
        let mut orders = Vec::new();
        if up.is_empty() {
            return orders;
        }
        if self.chance.permille(self.gets) {
            let burst = if self.chance.permille(40) { self.chance.number(2, 8) } else { 1 };
            let (key, same) = (self.key(), self.chance.permille(500));
            let place = self.chance.place(up.len());
            for _ in 0..burst {
                let at = if same { up[place] } else { up[self.chance.place(up.len())] };
                orders.push(self.get(at, vec![key]));
            }
            if self.chance.permille(60) {
                let keys = self.some(5);
                orders.push(self.get(up[place], keys));
            }
        }
        if self.chance.permille(self.removes) {
            orders.push(self.remove(up[0], &up));
        }
        orders
    }

    /// Some keys are asked for more often than others.
    fn key(&mut self) -> usize {
        self.chance.place(self.keys).min(self.chance.place(self.keys))
    }

    fn some(&mut self, most: usize) -> Vec<usize> {
        let mut some: Vec<usize> = (0..most).map(|_| self.key()).collect();
        some.sort_unstable();
        some.dedup();
        some
    }

    fn get(&mut self, at: usize, keys: Vec<usize>) -> Order {
        let allowed = self.chance.one_of(&GET_DEADLINES);
        let leaves = self.chance.permille(40).then(|| self.chance.number(1, 60));
        Order { wanted: Wanted::Get, keys, at, allowed, leaves }
    }

    fn remove(&mut self, first: usize, up: &[usize]) -> Order {
        let allowed = self.chance.one_of(&REMOVE_DEADLINES);
        let leaves = self.chance.permille(30).then(|| self.chance.number(1, 300));
        let at = up.get(self.chance.place(up.len())).copied().unwrap_or(first);
        let keys = if self.chance.permille(120) { self.some(3) } else { vec![self.key()] };
        let set = keys.len() == 1 && self.chance.permille(180);
        let wanted = if set { Wanted::Set } else { Wanted::Remove };
        Order { wanted, keys, at, allowed, leaves }
    }
}
