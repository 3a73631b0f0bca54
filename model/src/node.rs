//! What a node does as a cache: serve, lapse, purge, adopt a view, restart, fly (K1 to K5, G1, G2).

use crate::model::Model;
use crate::rules::Rule;
use crate::world::{Copied, FLIGHTS, Flight, Join, Kind, NODES, Node, Phase, Stage, World, bit};

impl Model {
    /// G1: for how many ticks the node's grants suffice under its own view; 0 while it may not serve copies.
    pub(crate) fn covered(&self, world: &World, node: usize) -> u8 {
        let own = world.nodes[node].view;
        if !self.may_hold(own, node) {
            return 0;
        }
        // No node knows a settled view above its own.
        let first = if self.rules.has(Rule::G1Majorities) { world.settled.min(own) } else { own };
        let binding = (first..=own).map(|view| self.view(view)).filter(|view| view.binds());
        binding.map(|view| view.covered(&world.nodes[node].grants)).min().unwrap_or(0)
    }

    /// Whether the node may serve copies now.
    pub(crate) fn serves(&self, world: &World, node: usize) -> bool {
        self.covered(world, node) > 0
    }

    /// G6: whether a member in this state may hold copies at all.
    fn may_hold(&self, view: u8, node: usize) -> bool {
        let view = self.view(view);
        view.keepers() & bit(node) != 0 || (!self.rules.has(Rule::G6Keep) && view.joining & bit(node) != 0)
    }

    /// K5: the coverage has run out.
    pub(crate) fn lapse(&self, world: &mut World, node: usize) {
        world.nodes[node].held = 0;
        if self.rules.has(Rule::K5Copies) {
            world.nodes[node].copy = Copied::Nothing;
        }
        for flight in world.flights.iter_mut().filter(|flight| usize::from(flight.at) == node) {
            if self.rules.has(Rule::K5Generation) {
                flight.keep = false;
            }
            if self.rules.has(Rule::K5Flights) {
                flight.join = Join::Nobody;
            }
        }
    }

    /// K1 and K2: a purge reaches the node.
    pub(crate) fn purge(&self, world: &mut World, node: usize) {
        world.nodes[node].copy = Copied::Nothing;
        world.nodes[node].window = self.scenario.window;
        for flight in world.flights.iter_mut().filter(|flight| usize::from(flight.at) == node) {
            if self.rules.has(Rule::K1Generation) {
                flight.keep = false;
            }
            if self.rules.has(Rule::K1Forget) {
                flight.join = Join::Nobody;
            }
        }
    }

    /// G2: the node adopts a newer view.
    pub(crate) fn adopt(&self, world: &mut World, node: usize, view: u8) {
        world.nodes[node].view = view;
        if self.rules.has(Rule::G1UnderView) {
            world.nodes[node].grants = [0; NODES];
            world.nodes[node].late = [0; NODES];
        }
        if !self.may_hold(view, node) && self.rules.has(Rule::G2Lapse) {
            self.lapse(world, node);
        }
        self.coordinator_learns(world, node, view);
    }

    /// K4 and G4: the process dies and another one begins, at `view`.
    pub(crate) fn restart(&self, world: &mut World, node: usize, view: u8) {
        world.restarts -= 1;
        let mut fresh = Node::new(view);
        if self.rules.has(Rule::K4Window) {
            fresh.window = self.scenario.window;
        }
        fresh.silent = self.scenario.bound;
        // What was on the way when the process died still arrives.
        fresh.ack = world.nodes[node].ack;
        world.nodes[node] = fresh;
        for flight in &mut world.flights {
            if usize::from(flight.at) == node {
                *flight = Flight::EMPTY;
            }
        }
        if !self.rules.has(Rule::R4Restart) {
            self.lift(world, node);
        }
    }

    /// The flight that a Get at the node would start now: what may become of its result.
    pub(crate) fn flight(&self, world: &World, kind: Kind, node: usize, target: usize) -> Flight {
        let serves = self.serves(world, node);
        let mut keep = serves || !self.rules.has(Rule::K3Keep);
        let mut join = Join::Nobody;
        let mut young = 0;
        if serves || !self.rules.has(Rule::K3Join) {
            join = Join::Anyone;
        } else if kind == Kind::Load
            && !self.rules.has(Rule::K3Young)
            && self.view(world.nodes[node].view).keepers() & bit(node) != 0
        {
            // A cut-off member that would still coalesce its loads while they are young.
            join = Join::WhileYoung;
            young = self.scenario.window;
        }
        let fenced = kind == Kind::Fetch || (kind == Kind::Peek && self.rules.has(Rule::K2Peek));
        if fenced && world.nodes[node].window > 0 {
            keep &= !self.rules.has(Rule::K2Keep);
            if self.rules.has(Rule::K2Join) && join == Join::Anyone {
                let never = self.rules.has(Rule::K2JoinLater);
                join = if never { Join::Nobody } else { Join::AfterWindow };
            }
        }
        let stage = if kind == Kind::Load { Stage::Answered } else { Stage::Asked };
        Flight { kind, at: node as u8, target: target as u8, stage, keep, join, young }
    }

    /// Whether a Get at the flight's node that comes now may join it.
    pub(crate) fn joinable(&self, world: &World, flight: &Flight) -> bool {
        match flight.join {
            Join::Nobody => false,
            Join::Anyone => true,
            Join::AfterWindow => world.nodes[usize::from(flight.at)].window == 0,
            Join::WhileYoung => flight.young > 0,
        }
    }

    /// K1: the result arrives; it is kept if the flight is still of the key's generation.
    pub(crate) fn finish(&self, world: &mut World, place: usize) {
        let flight = world.flights[place];
        let checked = flight.stage == Stage::Checked;
        if flight.keep && !checked && !self.rules.has(Rule::K1OneStep) {
            world.flights[place].stage = Stage::Checked;
            return;
        }
        world.flights[place] = Flight::EMPTY;
        if flight.keep || checked {
            let kept = match flight.kind {
                Kind::Load | Kind::Peek => Copied::Main,
                _ => Copied::Hot,
            };
            let copy = &mut world.nodes[usize::from(flight.at)].copy;
            *copy = kept.max(*copy);
        }
    }

    /// Leaves out flights that can neither be kept nor joined, and doubles: they change nothing for anyone.
    pub(crate) fn tidy_flights(world: &mut World) {
        for place in 0..FLIGHTS {
            let flight = world.flights[place];
            let idle = !flight.keep && flight.join == Join::Nobody && flight.stage != Stage::Checked;
            if idle || world.flights[..place].contains(&flight) {
                world.flights[place] = Flight::EMPTY;
            }
        }
        // Empty places sort first by kind; the order itself means nothing.
        world.flights.sort_unstable();
    }

    /// Whether new flights may start: after success every further old answer is already a violation.
    pub(crate) fn starts_flights(world: &World) -> bool {
        world.remove.phase != Phase::Done
    }
}
