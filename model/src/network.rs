//! What a peer is told: the answer to a fetch, a peek or a relayed peek (K6, and K2 for a peer's request).

use crate::model::Model;
use crate::rules::Rule;
use crate::world::{Copied, Flight, Kind, Phase, Stage, World};

/// What a node does with a peer's request when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It answers an old value.
    Old,
    /// It answers a new value or none.
    New,
    /// The request waits for the answer of the peek that runs there to this node.
    AwaitPeek(u8),
    /// It passes the request on to this node (only with a rule switched off).
    Forward(u8),
}

impl Model {
    /// K6: whether the node's main answers a peer with an old value now.
    fn main_answers_old(&self, world: &World, node: usize) -> bool {
        let copy = world.nodes[node].copy;
        let answers = match copy {
            Copied::Nothing => false,
            Copied::Hot => !self.rules.has(Rule::K6Hot),
            Copied::Main => true,
        };
        answers && (self.serves(world, node) || !self.rules.has(Rule::K6Serve))
    }

    /// At whom a Get at this node may peek: a new owner at the owner in the view before.
    pub(crate) fn peeked_by(&self, world: &World, node: usize) -> Option<usize> {
        let own = world.nodes[node].view;
        if !self.scenario.peeks || own == 0 || usize::from(self.view(own).owners[0]) != node {
            return None;
        }
        let previous = usize::from(self.view(own - 1).owners[0]);
        (previous != node).then_some(previous)
    }

    /// What `target` says to a peek: its main or nothing, and before the Remove was called any value is old.
    pub(crate) fn peeked(&self, world: &World, target: usize) -> Reply {
        if self.main_answers_old(world, target) { Reply::Old } else { Reply::New }
    }

    /// What `target` says to a fetch: its main, or what a flight there brings, or a load of its own.
    pub(crate) fn fetched(&self, world: &World, target: usize) -> Reply {
        if self.main_answers_old(world, target) {
            return Reply::Old;
        }
        // A peer's request joins loads and the peek before a load, never a fetch: those fly in another table.
        let runs_here = |flight: &&Flight| {
            usize::from(flight.at) == target
                && matches!(flight.kind, Kind::Load | Kind::Peek)
                && self.joinable(world, flight)
        };
        if let Some(flight) = world.flights.iter().find(runs_here) {
            return match flight.stage {
                Stage::Asked => Reply::AwaitPeek(flight.target),
                Stage::Answered | Stage::Checked => Reply::Old,
            };
        }
        let owner = self.view(world.nodes[target].view).owners[0];
        if !self.rules.has(Rule::K6Forward) && usize::from(owner) != target {
            return Reply::Forward(owner);
        }
        if world.remove.phase == Phase::Before { Reply::Old } else { Reply::New }
    }

    /// The question of the flight in this place reaches its target.
    pub(crate) fn answer(&self, world: &mut World, place: usize) {
        let flight = world.flights[place];
        let target = usize::from(flight.target);
        let reply = match flight.kind {
            Kind::Fetch => self.fetched(world, target),
            _ => self.peeked(world, target),
        };
        let flight = &mut world.flights[place];
        match reply {
            Reply::Old => flight.stage = Stage::Answered,
            Reply::New => *flight = Flight::EMPTY,
            Reply::AwaitPeek(previous) => {
                flight.kind = Kind::Relay;
                flight.target = previous;
            }
            Reply::Forward(owner) => flight.target = owner,
        }
    }
}
