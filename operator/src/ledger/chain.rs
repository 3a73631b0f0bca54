//! The memberships that still bind, oldest first: the settled one and all that came after it. Pure.
//!
//! Versions in which everyone is bound to the same are one membership; it bears the first of these versions. That version is what must be adopted
//! for the one before to be forgotten, so a change of the configuration meanwhile takes nothing back.

use std::collections::HashSet;
use std::time::Duration;

use groupcache_ring::{Member, Prior, State, Version};

use crate::ledger::Held;

/// What binds, with what is in force as the last.
#[must_use]
pub fn of(held: &Held) -> Vec<Prior> {
    let mut chain = held.snapshot.priors().to_vec();
    // A ledger of an operator that named no earlier memberships may have settled later than it last changed.
    let version = held.membership_since.max(held.snapshot.settled());
    chain.push(Prior { version, ..held.snapshot.as_prior() });
    chain
}

/// The earlier memberships that a version after `held` names, if what is settled by then is `settled`. `same`: it binds as `held` does.
///
/// One in which nobody may keep copies is left out: nobody ever served by it.
#[must_use]
pub fn priors(held: &Held, settled: Version, same: bool) -> Vec<Prior> {
    let mut chain = of(held);
    chain.drain(..place(&chain, settled).unwrap_or(0));
    if same {
        chain.pop();
    }
    chain.retain(has_keepers);
    chain
}

/// The uids of those who stand as Joining in the settled membership and in every one since: they may own keys now (G6).
///
/// Whoever may serve, or may conclude a Remove, goes by one of these memberships, and so knows them.
#[must_use]
pub fn joined(held: &Held, settled: Version) -> HashSet<String> {
    let chain = of(held);
    let Some(place) = place(&chain, settled) else { return HashSet::new() };
    let joining = |membership: &Prior| -> HashSet<String> {
        let joining = membership.members.iter().filter(|member| member.state == State::Joining);
        joining.map(|member| member.pod_uid.clone()).collect()
    };
    let (first, later) = (&chain[place], &chain[place + 1..]);
    later.iter().fold(joining(first), |uids, membership| &uids & &joining(membership))
}

/// True if everyone is bound to the same by `held` as by these members and grantors and this staleness bound.
///
/// Another pod under an old name is another member: that its predecessor has been known says nothing of it. A shorter bound must be adopted
/// everywhere before it may be relied upon.
#[must_use]
pub fn binds_alike(held: &Held, members: &[Member], grantors: &[String], bound: Duration) -> bool {
    let other =
        Prior { version: Version::PROVISIONAL, grantors: grantors.to_vec(), members: members.to_vec() };
    let same_pods = held.snapshot.members().iter().map(|m| &m.pod_uid).eq(members.iter().map(|m| &m.pod_uid));
    held.snapshot.as_prior().binds_as(&other) && same_pods && bound >= held.bound()
}

/// True if somebody may keep copies by it: who is Active, or was.
#[must_use]
pub fn has_keepers(membership: &Prior) -> bool {
    membership.members.iter().any(|member| member.state != State::Joining)
}

/// Where the settled one stands. `None`: it was left out because nobody could keep copies by it, or it is forgotten.
fn place(chain: &[Prior], settled: Version) -> Option<usize> {
    chain.iter().rposition(|membership| membership.version <= settled)
}
