//! The ring: ranks the members that may own a key, by rendezvous hashing.
//!
//! Source of the algorithm: D. Thaler and C. Ravishankar, "A name-based mapping scheme for rendezvous" (1996).
//! Every active member gets a score for the key; the highest score owns it, the second highest is the second owner, and so on.
//! A member that comes or goes moves only the keys that it wins or held. The cost is one multiplication or two per member and key.

use crate::hash::{avalanche, xxh64};
use crate::member::{Member, State};

/// The members that own keys, and the order in which they would own each.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    /// Hash of each owner's name, with the owner's place in the list the ring was made from; sorted by name, so that the list's order does not matter.
    owners: Vec<(u64, usize)>,
    hash: u64,
}

impl Ring {
    /// The ring of the Active members of `members`. Their places in that list are what [`Ring::owner`] and [`Ring::ranked`] answer.
    #[must_use]
    pub fn new(members: &[Member]) -> Self {
        let mut active: Vec<usize> =
            (0..members.len()).filter(|&at| members[at].state == State::Active).collect();
        active.sort_by(|&a, &b| members[a].name.cmp(&members[b].name));
        let owners: Vec<_> = active.iter().map(|&at| (xxh64(members[at].name.as_bytes()), at)).collect();
        let hash = owners.iter().fold(owners.len() as u64, |h, (name, _)| avalanche(h.rotate_left(5) ^ name));
        Ring { owners, hash }
    }

    /// The place of the key's owner in the list of members; `None` if no member is Active.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> Option<usize> {
        let key = xxh64(key);
        // On a tie the last in order of names wins: the same for everybody, and all that matters.
        self.owners.iter().max_by_key(|(name, _)| avalanche(key ^ name)).map(|&(_, at)| at)
    }

    /// The places of the key's first `count` owners, best first; fewer if there are fewer Active members.
    #[must_use]
    pub fn ranked(&self, key: &[u8], count: usize) -> Vec<usize> {
        let key = xxh64(key);
        let mut scored: Vec<_> = self.owners.iter().map(|&(name, at)| (avalanche(key ^ name), at)).collect();
        // Reversed before a stable sort, so that ties rank as in `owner`.
        scored.reverse();
        scored.sort_by_key(|&(score, _)| std::cmp::Reverse(score));
        scored.into_iter().take(count).map(|(_, at)| at).collect()
    }

    /// How many members own keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// True if nobody owns anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// A hash of who owns keys: equal on two nodes if and, but for chance, only if they agree on every owner.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

#[cfg(test)]
mod tests;
