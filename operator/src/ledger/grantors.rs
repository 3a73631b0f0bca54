//! Who grants the others the right to serve copies: an odd number of Active members, changed as little as can be. Pure.

use groupcache_ring::snapshot::MAX_GRANTORS;
use groupcache_ring::{Member, Snapshot, State};

/// An odd number of Active members, seven at most, sorted by name.
///
/// Odd, because one more brings nothing: of four a majority is three, so four stand the loss of one member as three do, and ask one grant more of
/// everyone. Those who grant already stay; then come those who were Active before, because a process that has just started grants nothing for a
/// staleness bound; then the first by name. A member that drains is about to go and never grants.
#[must_use]
pub fn choose(members: &[Member], before: Option<&Snapshot>) -> Vec<String> {
    let granted = |member: &Member| before.is_some_and(|before| before.grantors().contains(&member.name));
    let was_active = |member: &Member| {
        let held = before.and_then(|before| before.member(&member.name));
        held.is_some_and(|held| held.state == State::Active && held.pod_uid == member.pod_uid)
    };
    let mut active: Vec<&Member> = members.iter().filter(|member| member.state == State::Active).collect();
    active.sort_by_key(|member| (!granted(member), !was_active(member), member.name.clone()));
    let count = active.len().min(MAX_GRANTORS);
    active.truncate(if count.is_multiple_of(2) { count.saturating_sub(1) } else { count });
    let mut chosen: Vec<String> = active.into_iter().map(|member| member.name.clone()).collect();
    chosen.sort();
    chosen
}

#[cfg(test)]
mod tests {
    use groupcache_ring::Version;

    use super::*;

    fn members(count: usize) -> Vec<Member> {
        (0..count).map(|n| Member::active(format!("c-{n}"), format!("c-{n}:1"))).collect()
    }

    fn snapshot(grantors: &[&str], members: Vec<Member>) -> Snapshot {
        let grantors = grantors.iter().map(ToString::to_string).collect();
        Snapshot::new("uid", Version::new(1, 1), Version::new(1, 1), grantors, members).unwrap()
    }

    #[test]
    fn their_number_is_odd_and_seven_at_most() {
        let counts: Vec<usize> = (0..=9).map(|count| choose(&members(count), None).len()).collect();
        assert_eq!(counts, [0, 1, 1, 3, 3, 5, 5, 7, 7, 7]);
    }

    #[test]
    fn who_grants_goes_on_and_who_drains_is_replaced() {
        let mut nine = members(9);
        let first = snapshot(&["c-2", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8"], nine.clone());
        assert_eq!(choose(&nine, Some(&first)), first.grantors(), "though others come first by name");
        nine[2].state = State::Draining;
        assert_eq!(choose(&nine, Some(&first)), ["c-0", "c-3", "c-4", "c-5", "c-6", "c-7", "c-8"]);
    }

    #[test]
    fn who_has_been_active_longer_comes_before_who_has_just_started() {
        let mut before = members(4);
        before[0].state = State::Joining;
        before[1].pod_uid = "the one before".into();
        let before = snapshot(&["c-3"], before);
        assert_eq!(choose(&members(4), Some(&before)), ["c-0", "c-2", "c-3"]);
        let mut three = members(4);
        three[0].state = State::Joining;
        assert_eq!(choose(&three, Some(&before)), ["c-1", "c-2", "c-3"]);
    }
}
