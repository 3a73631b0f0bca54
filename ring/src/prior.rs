//! What an earlier membership still binds: its members and its grantors, until a newer one has settled.

use crate::member::Member;
use crate::version::Version;

/// Most earlier memberships that one snapshot names. More can only be unsettled if nothing has settled for long; then the ring stands still.
pub const MAX_PRIORS: usize = 16;

/// A membership as far as it binds those who come after it.
///
/// Until a version is settled, somebody may still act by one before it: whoever serves copies needs grants from a majority of the grantors
/// of *every* membership from the settled one on, and a Remove purges the members of every one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prior {
    /// Its version: the first, if several in a row bind the same.
    pub version: Version,
    /// Names of those who granted by it.
    pub grantors: Vec<String>,
    /// Everyone in it, as they could be reached then.
    pub members: Vec<Member>,
}

impl Prior {
    /// How many of its grantors are a majority; 0 if it has none and so grants nothing to anyone.
    #[must_use]
    pub fn majority(&self) -> usize {
        if self.grantors.is_empty() { 0 } else { self.grantors.len() / 2 + 1 }
    }

    /// How many of its grantors must bar a node so that it finds no majority any more: a blocking set. 0 if it has no grantors.
    #[must_use]
    pub fn blocking(&self) -> usize {
        if self.grantors.is_empty() { 0 } else { self.grantors.len() - self.majority() + 1 }
    }

    /// True if it binds no more and no less than `other`: the same grantors, and members of the same names in the same states.
    #[must_use]
    pub fn binds_as(&self, other: &Prior) -> bool {
        self.grantors == other.grantors && same_members(&self.members, &other.members)
    }
}

/// The same names in the same states, whatever their addresses and processes. Both in the same order.
fn same_members(one: &[Member], other: &[Member]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.name == other.name && one.state == other.state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(grantors: usize) -> Prior {
        let grantors = (0..grantors).map(|n| format!("n{n}")).collect();
        Prior { version: Version::new(1, 1), grantors, members: Vec::new() }
    }

    #[test]
    fn a_majority_and_a_blocking_set_always_meet() {
        let sizes: Vec<_> = (0..=7).map(|n| (of(n).majority(), of(n).blocking())).collect();
        assert_eq!(sizes, [(0, 0), (1, 1), (2, 1), (2, 2), (3, 2), (3, 3), (4, 3), (4, 4)]);
        assert!((1..=7).all(|n| of(n).majority() + of(n).blocking() == n + 1));
    }

    #[test]
    fn a_new_process_of_a_member_binds_as_the_one_before() {
        let member = Member::active("a", "a:1");
        let moved = Member { boot: 7, address: "a:2".into(), ..member.clone() };
        let with = |member: Member| Prior { members: vec![member], ..of(1) };
        assert!(with(member.clone()).binds_as(&with(moved)));
        let draining = Member { state: crate::member::State::Draining, ..member.clone() };
        assert!(!with(member.clone()).binds_as(&with(draining)));
        assert!(!with(member).binds_as(&of(1)));
    }
}
