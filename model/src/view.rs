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

    /// Whether anybody may serve by it. A view in which all members join binds nobody: it has no grantors to ask, and none to bar with.
    pub const fn binds(&self) -> bool {
        self.keepers() != 0
    }

    /// How many bars make a majority impossible. More than there can be where nobody grants: nobody can be barred there.
    pub const fn blocking(&self) -> u8 {
        if self.grantors == 0 { 1 } else { self.grantors.count_ones() as u8 - self.majority() + 1 }
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

#[cfg(test)]
mod tests {
    use super::View;

    #[test]
    fn a_blocking_set_is_as_small_as_makes_a_majority_impossible() {
        for (grantors, majority, blocking) in [(0b1, 1, 1), (0b11, 2, 1), (0b111, 2, 2), (0b1111, 3, 2)] {
            let view = View::of(grantors, [0, 0]);
            assert_eq!((view.majority(), view.blocking()), (majority, blocking), "of {grantors:b}");
            assert!(view.grantors.count_ones() as u8 - view.blocking() < view.majority());
        }
    }

    #[test]
    fn grants_cover_a_node_as_long_as_a_majority_of_them_runs() {
        let view = View::of(0b111, [0, 1]);
        assert_eq!(view.covered(&[3, 0, 0, 3]), 0, "one of three is no majority");
        assert_eq!(view.covered(&[3, 1, 0, 3]), 1);
        assert_eq!(view.covered(&[3, 2, 2, 0]), 2);
    }

    #[test]
    fn a_get_asks_only_better_ranked_owners() {
        let view = View::of(0b111, [2, 0]);
        assert_eq!(view.asked_by(0), 0b100);
        assert_eq!(view.asked_by(1), 0b101);
        assert_eq!(view.asked_by(2), 0, "the owner asks nobody");
        assert_eq!(view.asked_by(3), 0, "who is no member asks nobody");
    }
}
