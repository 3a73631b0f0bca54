//! What a view lists: members, grantors and owners; and the arithmetic of majorities.

use crate::world::{LONGEST, bit, each};

/// A membership at one version. Sets of nodes are bits: node A is bit 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Members that own and keep nothing yet.
    pub joining: u8,
    /// Members that own keys.
    pub active: u8,
    /// Members that own nothing any more and still serve what they hold.
    pub draining: u8,
    /// Active members whose grants count.
    pub grantors: u8,
    /// The key's owners, best first.
    pub owners: [u8; 2],
}

impl View {
    /// A view of active members only, all of them grantors.
    pub const fn of(active: u8, owners: [u8; 2]) -> View {
        View { joining: 0, active, draining: 0, grantors: active, owners }
    }

    /// All members, whatever their state.
    pub const fn members(&self) -> u8 {
        self.joining | self.active | self.draining
    }

    /// Members that may hold copies: Active and Draining ones.
    pub const fn keepers(&self) -> u8 {
        self.active | self.draining
    }

    /// How many grants suffice.
    pub const fn majority(&self) -> u8 {
        self.grantors.count_ones() as u8 / 2 + 1
    }

    /// How many bars make a majority impossible.
    pub const fn blocking(&self) -> u8 {
        self.grantors.count_ones() as u8 - self.majority() + 1
    }

    /// For how many ticks these grants, one number per node, hold a majority of the grantors.
    pub fn covered(&self, grants: &[u8]) -> u8 {
        let holding = |ticks: u8| each(self.grantors).filter(|&grantor| grants[grantor] >= ticks).count();
        (1..=LONGEST).rev().find(|&ticks| holding(ticks) >= usize::from(self.majority())).unwrap_or(0)
    }

    /// Whom a Get at this node may ask: the better-ranked of the first two owners.
    pub fn asked_by(&self, node: usize) -> u8 {
        if self.members() & bit(node) == 0 {
            return 0;
        }
        let mut asked = 0;
        for &owner in &self.owners {
            if usize::from(owner) == node {
                break;
            }
            asked |= bit(usize::from(owner));
        }
        asked
    }
}
