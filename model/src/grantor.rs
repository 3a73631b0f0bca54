//! What a node does as a grantor: answer beats, bar, lift bars; and when a view counts as settled (G3 to G5, R4).

use crate::model::Model;
use crate::rules::Rule;
use crate::world::{NODES, Phase, World, bit, each};

impl Model {
    /// G3 and G4: whether the grantor would grant the asker a beat now, without either adopting a view first.
    pub(crate) fn would_grant(&self, world: &World, grantor: usize, asker: usize) -> bool {
        let (mine, asked) = (&world.nodes[grantor], &world.nodes[asker]);
        if asked.view < mine.view && self.rules.has(Rule::G3Older) {
            return false;
        }
        if asked.view > mine.view && self.rules.has(Rule::G3Newer) {
            return false;
        }
        if mine.silent > 0 && self.rules.has(Rule::G4Silent) {
            return false;
        }
        let heeds = if grantor == asker { Rule::G3Self } else { Rule::G3Barred };
        mine.bars & bit(asker) == 0 || !self.rules.has(heeds)
    }

    /// The grantors whose grants count for this node.
    pub(crate) fn grantors_of(&self, world: &World, node: usize) -> u8 {
        let own = world.nodes[node].view;
        (world.settled.min(own)..=own).fold(0, |set, view| set | self.view(view).grantors)
    }

    /// A beat and its reply, at once.
    pub(crate) fn grant(&self, world: &mut World, grantor: usize, asker: usize) {
        world.nodes[asker].grants[grantor] = self.scenario.bound;
        world.nodes[grantor].lent[asker] = self.scenario.bound;
    }

    /// Lets the nodes that the scenario does not set free renew all they can, and every node grant itself.
    pub(crate) fn renew(&self, world: &mut World) {
        for asker in 0..self.scenario.nodes {
            let free = self.scenario.free & bit(asker) != 0;
            for grantor in each(self.grantors_of(world, asker)) {
                if (!free || grantor == asker) && self.would_grant(world, grantor, asker) {
                    self.grant(world, grantor, asker);
                }
            }
        }
    }

    /// Coverage is what the grants held at any time since the last lapse have promised.
    pub(crate) fn note_coverage(&self, world: &mut World) {
        for node in 0..self.scenario.nodes {
            let covered = self.covered(world, node);
            let held = &mut world.nodes[node].held;
            *held = covered.max(*held);
        }
    }

    /// R2: the grantor bars the unreached and says how long its last grants to them run.
    pub(crate) fn bar(&self, world: &mut World, grantor: usize) -> u8 {
        let unreached = world.remove.unreached;
        let node = &mut world.nodes[grantor];
        node.bars |= unreached;
        node.bars_left = self.scenario.bar_expiry;
        let lent = each(unreached).map(|other| node.lent[other]).max().unwrap_or(0);
        if self.rules.has(Rule::G4Report) { lent.max(node.silent) } else { lent }
    }

    /// R4: every grantor lets the node go, and the coordinator counts it as reached.
    pub(crate) fn lift(&self, world: &mut World, barred: usize) {
        for node in &mut world.nodes {
            node.bars &= !bit(barred);
        }
        if matches!(world.remove.phase, Phase::Barring | Phase::Round2) {
            world.remove.acked |= world.remove.unreached & bit(barred);
        }
    }

    /// One tick at each grantor.
    pub(crate) fn age_bars(&self, world: &mut World) {
        if self.scenario.bar_expiry == 0 {
            return;
        }
        for node in &mut world.nodes {
            node.bars_left = node.bars_left.saturating_sub(1);
            if node.bars_left == 0 {
                node.bars = 0;
            }
        }
    }

    /// G5: how many of these nodes have adopted the view or a newer one.
    fn adopters(world: &World, of: u8, view: u8) -> u8 {
        each(of).filter(|&node| world.nodes[node].view >= view).count() as u8
    }

    fn majority_adopted(&self, world: &World, view: u8) -> bool {
        let before = self.view(view - 1);
        Self::adopters(world, before.grantors, view) >= before.majority()
    }

    fn all_adopted(&self, world: &World, view: u8) -> bool {
        let before = self.view(view - 1);
        Self::adopters(world, before.members(), view) == before.members().count_ones() as u8
    }

    /// One tick of the operator's watch over adoption.
    pub(crate) fn age_views(&self, world: &mut World) {
        for view in 1..self.scenario.views.len() as u8 {
            // All members include all grantors: this one clock serves both conditions.
            let ticks = if self.majority_adopted(world, view) {
                (world.adopted[usize::from(view)] + 1).min(self.scenario.bound)
            } else {
                0
            };
            world.adopted[usize::from(view)] = ticks;
        }
    }

    /// G5: moves the settled view on as soon as it may move. A later move would only ask more of everyone.
    pub(crate) fn settle(&self, world: &mut World) {
        for view in world.settled + 1..self.scenario.views.len() as u8 {
            let waited = world.adopted[usize::from(view)] >= self.scenario.bound;
            let holds = waited
                || (!self.rules.has(Rule::G5WaitMajority) && self.majority_adopted(world, view))
                || (!self.rules.has(Rule::G5WaitAll) && self.all_adopted(world, view));
            if holds {
                world.settled = view;
            } else if self.rules.has(Rule::G5Cumulative) {
                break;
            }
        }
    }

    /// G6: whether the view has been published, as far as its Joining members allow.
    pub(crate) fn published(&self, world: &World, view: u8) -> bool {
        (self.scenario.start + 1..=view).all(|view| {
            let new = self.view(view).keepers() & !self.view(view - 1).keepers();
            !self.rules.has(Rule::G6Settled)
                || each(new & ((1 << NODES) - 1)).all(|node| self.joined(world, view - 1, node))
        })
    }

    /// Whether a Joining view of this node, the newest run of which ends at `last`, has settled.
    fn joined(&self, world: &World, last: u8, node: usize) -> bool {
        (0..=last)
            .rev()
            .take_while(|&view| self.view(view).joining & bit(node) != 0)
            .any(|view| view <= world.settled)
    }
}
