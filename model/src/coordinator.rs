//! What the coordinator of the Remove does: two rounds of purges and the bars between them (R1 to R5).

use crate::model::Model;
use crate::rules::Rule;
use crate::world::{NODES, Phase, Remove, World, bit};

impl Model {
    /// R1: a client calls Remove at this node.
    pub(crate) fn call(&self, world: &mut World, node: usize) {
        let view = world.nodes[node].view;
        world.remove = Remove {
            phase: Phase::Round1,
            at: node as u8,
            settled: world.settled.min(view),
            view,
            timer: self.scenario.window,
            acked: bit(node),
            ..Remove::BEFORE
        };
        self.purge(world, node);
    }

    /// The members that a round goes to.
    pub(crate) fn targets(&self, remove: &Remove) -> u8 {
        let first = if self.rules.has(Rule::R1Views) { remove.settled } else { remove.view };
        (first..=remove.view).fold(0, |set, view| set | self.view(view).members())
    }

    /// The coordinator hears of a view: from a push, or from a reply of any kind.
    pub(crate) fn coordinator_learns(&self, world: &mut World, node: usize, view: u8) {
        let remove = &mut world.remove;
        if usize::from(remove.at) != node || view <= remove.view {
            return;
        }
        let heeds = match remove.phase {
            Phase::Before | Phase::Done => return,
            Phase::Round1 => Rule::R1Learn,
            Phase::Barring => Rule::R2Learn,
            Phase::Round2 => Rule::R3Learn,
        };
        if !self.rules.has(heeds) {
            return;
        }
        remove.view = view;
        if remove.phase == Phase::Round2 {
            remove.phase = Phase::Barring;
            remove.timer = 0;
            remove.confirmed = 0;
            // Who has answered round 2 is barred no more and has to answer the next one.
            remove.unreached &= !remove.acked;
            remove.acked = 0;
            Self::drop_acks(world);
        }
    }

    /// A reply reaches the coordinator, and with it the view of its sender.
    fn reply(&self, world: &mut World, view: u8) {
        let at = usize::from(world.remove.at);
        if view > world.nodes[at].view {
            self.adopt(world, at, view);
        }
        self.coordinator_learns(world, at, view);
    }

    /// A purge of the current round reaches the node, and its acknowledgement the coordinator.
    pub(crate) fn acknowledged(&self, world: &mut World, node: usize, view: u8) {
        world.nodes[node].ack = 0;
        let phase = world.remove.phase;
        world.remove.acked |= bit(node);
        if phase == Phase::Round2 && world.remove.unreached & bit(node) != 0 {
            self.lift(world, node);
        }
        self.reply(world, view);
    }

    /// R4: an acknowledgement of round 1 arrives after the round.
    pub(crate) fn heard_late(&self, world: &mut World, node: usize) {
        if !self.rules.has(Rule::R4LateAck) {
            self.lift(world, node);
        }
    }

    /// R1: whether all have acknowledged in time.
    pub(crate) fn round1_succeeds(&self, world: &World) -> bool {
        let remove = &world.remove;
        remove.phase == Phase::Round1
            && (remove.timer > 0 || !self.rules.has(Rule::R1InTime))
            && self.targets(remove) & !remove.acked == 0
    }

    /// R1: whether the coordinator may give up waiting for acknowledgements.
    pub(crate) fn round1_ends(&self, world: &World) -> bool {
        let remove = &world.remove;
        remove.phase == Phase::Round1 && (remove.timer == 0 || !self.rules.has(Rule::R1Wait))
    }

    /// R2: the unreached are known; bars are asked for from now on.
    pub(crate) fn conclude(&self, world: &mut World) {
        let targets = self.targets(&world.remove);
        let remove = &mut world.remove;
        remove.unreached = targets & !remove.acked;
        remove.phase = Phase::Barring;
        remove.timer = 0;
        remove.acked = 0;
        Self::drop_acks(world);
    }

    /// The round is over: acknowledgements still on the way count no more.
    fn drop_acks(world: &mut World) {
        for node in &mut world.nodes {
            node.ack = 0;
        }
    }

    /// R2: the grantors whose bars would count.
    pub(crate) fn may_bar(&self, world: &World) -> u8 {
        let remove = &world.remove;
        if remove.phase != Phase::Barring || remove.unreached == 0 {
            return 0;
        }
        let grantors =
            (self.first_barred(remove)..=remove.view).fold(0, |set, view| set | self.view(view).grantors);
        let silent = if self.rules.has(Rule::R2Unreached) { remove.unreached } else { 0 };
        grantors & !silent & !remove.barring
    }

    /// R2: a grantor is asked to bar and answers.
    pub(crate) fn ask_bar(&self, world: &mut World, grantor: usize) {
        if world.remove.barring == 0 {
            world.remove.deadline = self.scenario.bar_expiry;
        }
        let left = self.bar(world, grantor);
        world.remove.barring |= bit(grantor);
        world.remove.wait = world.remove.wait.max(left);
        self.reply(world, world.nodes[grantor].view);
    }

    fn first_barred(&self, remove: &Remove) -> u8 {
        if self.rules.has(Rule::R2Views) { remove.settled } else { remove.view }
    }

    /// Whether these grantors are a blocking set of every view that counts.
    fn blocks(&self, remove: &Remove, barring: u8) -> bool {
        (self.first_barred(remove)..=remove.view).all(|number| {
            let view = self.view(number);
            // The newest known has to: of those after it nothing is known.
            let skipped = !view.binds() && number != remove.view && self.rules.has(Rule::R2Views);
            skipped || (view.grantors & barring).count_ones() >= u32::from(view.blocking())
        })
    }

    /// R2: whether the bars suffice and the grants have run out.
    pub(crate) fn bars_hold(&self, world: &World) -> bool {
        let remove = &world.remove;
        let waited = remove.wait == 0 || !self.rules.has(Rule::R2Wait);
        let blocked = remove.unreached == 0 || self.blocks(remove, remove.barring);
        remove.phase == Phase::Barring && waited && blocked && self.in_deadline(remove)
    }

    fn in_deadline(&self, remove: &Remove) -> bool {
        let expires = self.scenario.bar_expiry > 0 && self.rules.has(Rule::R5Deadline);
        !expires || remove.barring == 0 || remove.deadline > 0
    }

    /// R3: the second round begins, at the coordinator itself.
    pub(crate) fn begin_round2(&self, world: &mut World) {
        let remove = &mut world.remove;
        remove.phase = Phase::Round2;
        remove.timer = self.scenario.window;
        remove.confirmed = 0;
        // With R4 as it is nobody unreached has acknowledged anything yet.
        remove.acked &= remove.unreached;
        remove.acked |= bit(usize::from(remove.at));
        let at = usize::from(remove.at);
        self.purge(world, at);
    }

    /// R3: the grantors that could confirm now that they still hold what they barred.
    pub(crate) fn may_confirm(&self, world: &World) -> u8 {
        let remove = &world.remove;
        if remove.phase != Phase::Round2 || !self.rules.has(Rule::R3Confirm) {
            return 0;
        }
        let needed = remove.unreached & !remove.acked;
        let holds = |node: usize| world.nodes[node].bars & needed == needed;
        let holding = (0..NODES).filter(|&node| holds(node)).fold(0, |set, node| set | bit(node));
        remove.barring & !remove.confirmed & holding
    }

    /// R3: a grantor confirms.
    pub(crate) fn confirm(&self, world: &mut World, grantor: usize) {
        world.remove.confirmed |= bit(grantor);
        if self.rules.has(Rule::R5Renew) {
            world.nodes[grantor].bars_left = self.scenario.bar_expiry;
        }
        self.reply(world, world.nodes[grantor].view);
    }

    /// R3: whether round 2 has succeeded.
    pub(crate) fn round2_succeeds(&self, world: &World) -> bool {
        let remove = &world.remove;
        if remove.phase == Phase::Barring && !self.rules.has(Rule::R3Round) {
            return self.bars_hold(world);
        }
        let barred = remove.unreached & !remove.acked;
        let confirmed = if self.rules.has(Rule::R3Confirm) { remove.confirmed } else { remove.barring };
        remove.phase == Phase::Round2
            && (remove.timer > 0 || !self.rules.has(Rule::R3InTime))
            && self.targets(remove) & !remove.unreached & !remove.acked == 0
            && (barred == 0 || self.blocks(remove, confirmed))
            && self.in_deadline(remove)
    }

    /// The Remove returns success; bars need not outlive it.
    pub(crate) fn succeed(&self, world: &mut World) {
        world.remove = Remove { phase: Phase::Done, ..Remove::BEFORE };
        for node in &mut world.nodes {
            node.bars = 0;
            node.bars_left = 0;
            node.ack = 0;
            // Nobody will ask any more what was granted to whom.
            node.lent = [0; NODES];
        }
    }

    /// One tick at the coordinator.
    pub(crate) fn age_remove(world: &mut World) {
        let remove = &mut world.remove;
        remove.timer = remove.timer.saturating_sub(1);
        remove.wait = remove.wait.saturating_sub(1);
        remove.deadline = remove.deadline.saturating_sub(1);
    }
}
