//! The judge of P1: after a successful Remove no Get that starts then may answer what was loaded before the call.

use crate::model::Model;
use crate::network::Reply;
use crate::world::{Copied, Phase, Stage, World, each};

/// A Get that breaks the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The node that was asked.
    pub node: usize,
    /// Where its old value comes from.
    pub from: Source,
}

/// Where an old value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The node's own copy.
    Copy(Copied),
    /// A flight at the node that the Get joins.
    Flight,
    /// A peer that the node asks for it, or peeks at.
    Peer(usize),
}

impl Model {
    /// A Get that could start now and would answer an old value although the Remove has succeeded.
    pub fn violation(&self, world: &World) -> Option<Violation> {
        if world.remove.phase != Phase::Done {
            return None;
        }
        (0..self.scenario.nodes).find_map(|node| {
            let from = self.old_answer(world, node)?;
            Some(Violation { node, from })
        })
    }

    fn old_answer(&self, world: &World, node: usize) -> Option<Source> {
        let copy = world.nodes[node].copy;
        if copy != Copied::Nothing && self.serves(world, node) {
            return Some(Source::Copy(copy));
        }
        let joins = world.flights.iter().any(|flight| {
            usize::from(flight.at) == node && flight.stage != Stage::Asked && self.joinable(world, flight)
        });
        if joins {
            return Some(Source::Flight);
        }
        if let Some(previous) = self.peeked_by(world, node)
            && self.peeked(world, previous) == Reply::Old
        {
            return Some(Source::Peer(previous));
        }
        let asked = self.view(world.nodes[node].view).asked_by(node);
        each(asked).find(|&peer| self.fetched(world, peer) == Reply::Old).map(Source::Peer)
    }

    /// Whether nothing old is left that could ever be answered: from here on every Get is right.
    pub(crate) fn harmless(world: &World) -> bool {
        world.remove.phase != Phase::Before
            && world.nodes.iter().all(|node| node.copy == Copied::Nothing)
            && world.flights.iter().all(|flight| {
                // Empty places are at the stage Asked.
                flight.stage == Stage::Asked
            })
    }
}
