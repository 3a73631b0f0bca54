//! The steps of the world: which may happen now, and what each leads to.

use crate::rules::{Rule, Rules};
use crate::scenario::Scenario;
use crate::view::View;
use crate::world::{
    Copied, FLIGHTS, Flight, Kind, NODES, Node, Phase, Remove, Stage, VIEWS, World, bit, each,
};

/// The protocol with some rules in force, in one scenario.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Where it runs.
    pub scenario: Scenario,
    /// What is in force.
    pub rules: Rules,
    /// Whether worlds without any old value left are searched on: only to see that a Remove can succeed.
    pub to_the_end: bool,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A tick passes everywhere.
    Tick,
    /// A beat to a grantor and the grant in its reply.
    Beat(usize, usize),
    /// A beat to a grantor whose reply stays on the way.
    LateBeat(usize, usize),
    /// That reply arrives.
    Granted(usize, usize),
    /// A node adopts a view.
    Adopt(usize, u8),
    /// A node restarts, with this view.
    Restart(usize, u8),
    /// A Get misses and starts this flight.
    Start(Flight),
    /// The question of a flight reaches its target.
    Answer(usize),
    /// A flight's answer arrives, or is stored.
    Finish(usize),
    /// A client calls Remove at a node.
    Call(usize),
    /// A purge reaches a node and is acknowledged.
    Purge(usize),
    /// A purge reaches a node, whose acknowledgement is slow.
    SlowPurge(usize),
    /// That acknowledgement arrives.
    Acknowledged(usize),
    /// A purge reaches a node, too late or with its acknowledgement lost.
    PurgeUnheard(usize),
    /// The coordinator gives up waiting for acknowledgements.
    Conclude,
    /// A grantor bars the unreached.
    Bar(usize),
    /// The second round begins.
    Round2,
    /// Another Remove's release of the same node reaches a grantor (only with a rule switched off).
    ForeignLift(usize),
    /// A grantor confirms its bars.
    Confirm(usize),
    /// The Remove returns success.
    Succeed,
}

impl Model {
    /// The view of this index.
    #[inline]
    pub(crate) fn view(&self, view: u8) -> &'static View {
        &self.scenario.views[usize::from(view)]
    }

    /// The world at the start: old copies everywhere, all grants fresh.
    pub fn start(&self) -> World {
        let scenario = &self.scenario;
        let mut world = World {
            nodes: [Node::new(0); NODES],
            flights: [Flight::EMPTY; FLIGHTS],
            remove: Remove::BEFORE,
            settled: scenario.settled,
            adopted: [0; VIEWS],
            restarts: scenario.restarts,
        };
        for node in 0..scenario.nodes {
            world.nodes[node].view = scenario.start;
        }
        for asker in 0..scenario.nodes {
            for grantor in each(self.grantors_of(&world, asker)) {
                self.grant(&mut world, grantor, asker);
            }
        }
        for node in each(self.view(scenario.start).keepers()) {
            world.nodes[node].copy = Copied::Main;
        }
        self.follow(&mut world);
        world
    }

    /// What follows by itself after every step.
    fn follow(&self, world: &mut World) {
        self.settle(world);
        self.renew(world);
        self.note_coverage(world);
        Self::tidy_flights(world);
    }

    /// Calls `visit` with every step that may happen in this world and the world it leads to.
    pub fn each_step(&self, world: &World, visit: &mut impl FnMut(Step, World)) {
        let mut take = |step: Step| {
            let mut next = *world;
            self.apply(&mut next, step);
            self.follow(&mut next);
            visit(step, next);
        };
        if self.scenario.called_first && world.remove.phase == Phase::Before {
            self.remove_steps(world, &mut take);
            return;
        }
        take(Step::Tick);
        self.grant_steps(world, &mut take);
        self.change_steps(world, &mut take);
        self.flight_steps(world, &mut take);
        self.remove_steps(world, &mut take);
    }

    fn grant_steps(&self, world: &World, take: &mut impl FnMut(Step)) {
        for asker in each(self.scenario.free) {
            for grantor in each(self.grantors_of(world, asker) & !bit(asker)) {
                let late = world.nodes[asker].late[grantor];
                if self.would_grant(world, grantor, asker) {
                    take(Step::Beat(asker, grantor));
                    if self.scenario.late_grants && late == 0 {
                        take(Step::LateBeat(asker, grantor));
                    }
                }
                if late > 0 {
                    take(Step::Granted(asker, grantor));
                }
            }
        }
    }

    fn change_steps(&self, world: &World, take: &mut impl FnMut(Step)) {
        for node in 0..self.scenario.nodes {
            let own = world.nodes[node].view;
            for view in own + 1..self.scenario.views.len() as u8 {
                if self.published(world, view) {
                    take(Step::Adopt(node, view));
                }
            }
            // A Remove whose coordinator dies promises nothing: that branch ends.
            let leads = usize::from(world.remove.at) == node
                && !matches!(world.remove.phase, Phase::Before | Phase::Done);
            if world.restarts > 0 && self.scenario.restarting & bit(node) != 0 && !leads {
                let lowest = if self.rules.has(Rule::K4View) { own } else { 0 };
                (lowest..=own).for_each(|view| take(Step::Restart(node, view)));
            }
        }
    }

    fn flight_steps(&self, world: &World, take: &mut impl FnMut(Step)) {
        let under_way = world.flights.iter().filter(|flight| flight.kind != Kind::Empty).count();
        if Self::starts_flights(world) && under_way < self.scenario.flights {
            for node in 0..self.scenario.nodes {
                if world.remove.phase == Phase::Before {
                    take(Step::Start(self.flight(world, Kind::Load, node, node)));
                }
                let own = world.nodes[node].view;
                for owner in each(self.view(own).asked_by(node)) {
                    take(Step::Start(self.flight(world, Kind::Fetch, node, owner)));
                }
                if let Some(previous) = self.peeked_by(world, node) {
                    take(Step::Start(self.flight(world, Kind::Peek, node, previous)));
                }
            }
        }
        for (place, flight) in world.flights.iter().enumerate() {
            match (flight.kind, flight.stage) {
                (Kind::Empty, _) => {}
                (_, Stage::Asked) => take(Step::Answer(place)),
                (_, Stage::Answered | Stage::Checked) => take(Step::Finish(place)),
            }
        }
    }

    fn remove_steps(&self, world: &World, take: &mut impl FnMut(Step)) {
        let remove = &world.remove;
        let others = !bit(usize::from(remove.at));
        match remove.phase {
            Phase::Before => {
                for node in each(self.scenario.coordinators) {
                    if self.view(world.nodes[node].view).keepers() & bit(node) != 0 {
                        take(Step::Call(node));
                    }
                }
                return;
            }
            Phase::Done => return,
            Phase::Round1 | Phase::Barring | Phase::Round2 => {}
        }
        let in_round = matches!(remove.phase, Phase::Round1 | Phase::Round2);
        for node in each(self.targets(remove) & others) {
            let unheard = self.scenario.unheard & bit(node) != 0;
            if in_round && remove.acked & bit(node) == 0 {
                take(Step::Purge(node));
                if world.nodes[node].ack > 0 {
                    take(Step::Acknowledged(node));
                } else if unheard {
                    take(Step::SlowPurge(node));
                }
            }
            if unheard {
                take(Step::PurgeUnheard(node));
            }
        }
        if !self.rules.has(Rule::R4Own) {
            let barring = (0..self.scenario.nodes).filter(|&node| world.nodes[node].bars != 0);
            barring.for_each(|grantor| take(Step::ForeignLift(grantor)));
        }
        if self.round1_ends(world) {
            take(Step::Conclude);
        }
        each(self.may_bar(world)).for_each(|grantor| take(Step::Bar(grantor)));
        if self.bars_hold(world) && self.rules.has(Rule::R3Round) {
            take(Step::Round2);
        }
        each(self.may_confirm(world)).for_each(|grantor| take(Step::Confirm(grantor)));
        if self.round1_succeeds(world) || self.round2_succeeds(world) {
            take(Step::Succeed);
        }
    }

    fn apply(&self, world: &mut World, step: Step) {
        match step {
            Step::Tick => self.tick(world),
            Step::Beat(asker, grantor) => self.grant(world, grantor, asker),
            Step::LateBeat(asker, grantor) => {
                world.nodes[asker].late[grantor] = self.scenario.bound;
                world.nodes[grantor].lent[asker] = self.scenario.bound;
            }
            Step::Granted(asker, grantor) => {
                let node = &mut world.nodes[asker];
                // G3: without the rule the grant runs from now.
                let left =
                    if self.rules.has(Rule::G3Sending) { node.late[grantor] } else { self.scenario.bound };
                node.grants[grantor] = left.max(node.grants[grantor]);
                node.late[grantor] = 0;
            }
            Step::Adopt(node, view) => self.adopt(world, node, view),
            Step::Restart(node, view) => self.restart(world, node, view),
            Step::Start(flight) => {
                if let Some(free) = world.flights.iter_mut().find(|flight| flight.kind == Kind::Empty) {
                    *free = flight;
                }
            }
            Step::Answer(place) => self.answer(world, place),
            Step::Finish(place) => self.finish(world, place),
            Step::Call(node) => self.call(world, node),
            Step::Purge(node) => {
                self.purge(world, node);
                self.acknowledged(world, node, world.nodes[node].view);
            }
            Step::SlowPurge(node) => {
                self.purge(world, node);
                world.nodes[node].ack = world.nodes[node].view + 1;
            }
            Step::Acknowledged(node) => self.acknowledged(world, node, world.nodes[node].ack - 1),
            Step::PurgeUnheard(node) => {
                self.purge(world, node);
                if world.remove.phase != Phase::Round1 {
                    self.heard_late(world, node);
                }
            }
            Step::Conclude => self.conclude(world),
            Step::Bar(grantor) => self.ask_bar(world, grantor),
            Step::Round2 => self.begin_round2(world),
            Step::ForeignLift(grantor) => world.nodes[grantor].bars = 0,
            Step::Confirm(grantor) => self.confirm(world, grantor),
            Step::Succeed => self.succeed(world),
        }
    }

    fn tick(&self, world: &mut World) {
        self.age_views(world);
        for node in &mut world.nodes {
            node.window = node.window.saturating_sub(1);
            node.silent = node.silent.saturating_sub(1);
            for other in 0..NODES {
                node.grants[other] = node.grants[other].saturating_sub(1);
                node.lent[other] = node.lent[other].saturating_sub(1);
                let late = &mut node.late[other];
                *late = if self.rules.has(Rule::G3Sending) {
                    late.saturating_sub(1)
                } else {
                    late.saturating_sub(1).max((*late).min(1))
                };
            }
        }
        for flight in &mut world.flights {
            flight.young = flight.young.saturating_sub(1);
            if flight.young == 0 && flight.join == crate::world::Join::WhileYoung {
                flight.join = crate::world::Join::Nobody;
            }
        }
        self.age_bars(world);
        Self::age_remove(world);
        for node in 0..self.scenario.nodes {
            let held = world.nodes[node].held;
            world.nodes[node].held = held.saturating_sub(1);
            if held == 1 {
                self.lapse(world, node);
            }
        }
    }
}
