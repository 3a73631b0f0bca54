//! The rings before the present one: who may still hold what this node has come to own.

use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::{Member, Ring, State};
use tokio::time::Instant;

use crate::expiry::after;
use crate::value::Key;
use crate::view::View;

/// For how long a former ring counts: a pod that leaves lives for about 40 seconds, and what is asked for at all was asked for again by then.
pub(super) const FORMER_FOR: Duration = Duration::from_secs(60);

/// Former rings that are remembered: a pod that is replaced changes the ring twice.
const MOST_FORMERS: usize = 2;

/// The former rings, the latest first. Cheap to copy.
#[derive(Clone, Default)]
pub(super) struct Formers(Arc<[Former]>);

#[derive(Clone)]
struct Former {
    ring: Ring,
    members: Arc<[Member]>,
    /// Until when it counts.
    until: Instant,
}

impl Formers {
    /// The former rings once `view` comes into force; `None` if it moves no key.
    ///
    /// A process that has just started has none of its own: it takes the newest earlier membership that the snapshot names.
    pub(super) fn followed_by(&self, before: Option<&View>, view: &View, now: Instant) -> Option<Self> {
        let other = |members: &[Member]| {
            let ring = Ring::new(members);
            (ring.hash() != view.ring_hash()).then(|| (ring, Arc::from(members)))
        };
        let (ring, members) = match before {
            Some(before) => other(before.snapshot().members()),
            None => view.unsettled().iter().rev().find_map(|prior| other(&prior.members)),
        }?;
        let latest = Former { ring, members, until: after(now, FORMER_FOR) };
        let still = self.0.iter().filter(|former| now < former.until).cloned();
        Some(Formers([latest].into_iter().chain(still).take(MOST_FORMERS).collect()))
    }

    /// True if there is a former ring that counts.
    pub(super) fn any(&self, now: Instant) -> bool {
        self.0.iter().any(|former| now < former.until)
    }

    /// The key's former owners other than this node, as they can be reached now, the latest first.
    pub(super) fn owners(&self, key: &Key, view: &View, now: Instant) -> Vec<Member> {
        let mut owners: Vec<Member> = Vec::new();
        for former in self.0.iter().filter(|former| now < former.until) {
            let Some(at) = former.ring.owner(key.as_bytes()) else { continue };
            let name = &former.members[at].name;
            if owners.iter().all(|owner| owner.name != *name) {
                owners.extend(holder(name, view).cloned());
            }
        }
        owners
    }

    /// The names of those who may hold what this node owns now: who leaves comes first, for its time is short.
    pub(super) fn holders(&self, view: &View) -> Vec<String> {
        let members = self.0.iter().flat_map(|former| former.members.iter());
        let keeping = members.filter(|member| member.state != State::Joining);
        let mut holders: Vec<&Member> = keeping.filter_map(|member| holder(&member.name, view)).collect();
        holders.sort_by_key(|member| (member.state != State::Draining, member.name.clone()));
        holders.dedup_by(|one, other| one.name == other.name);
        holders.into_iter().map(|member| member.name.clone()).collect()
    }
}

/// The member of that name, if it is another one that may hold something: one that joins has nothing.
fn holder<'a>(name: &str, view: &'a View) -> Option<&'a Member> {
    let member = view.known(name).filter(|_| name != view.me())?;
    (member.state != State::Joining).then_some(member)
}

#[cfg(test)]
mod tests {
    use groupcache_ring::{Prior, Snapshot, Version};

    use super::*;

    fn members(states: &[(&str, State)]) -> Vec<Member> {
        let member = |(name, state): &(&str, State)| Member {
            state: *state,
            ..Member::active(*name, format!("{name}:1"))
        };
        states.iter().map(member).collect()
    }

    fn view(sequence: u64, states: &[(&str, State)], priors: Vec<Prior>) -> View {
        let version = Version::new(1, sequence);
        let settled = priors.first().map_or(version, |prior| prior.version);
        let snapshot = Snapshot::new("u", version, settled, Vec::new(), members(states)).unwrap();
        View::new("a", Arc::new(snapshot.with_priors(priors).unwrap()))
    }

    const A: (&str, State) = ("a", State::Active);
    const B: (&str, State) = ("b", State::Active);
    const C: (&str, State) = ("c", State::Active);

    fn names(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| &*member.name).collect()
    }

    #[test]
    fn a_ring_is_remembered_when_another_one_follows_and_for_a_minute() {
        let now = Instant::now();
        let (one, same, two) = (view(1, &[B], vec![]), view(2, &[B], vec![]), view(3, &[A], vec![]));
        let none = Formers::default();
        assert!(none.followed_by(Some(&one), &same, now).is_none());
        assert!(none.followed_by(None, &one, now).is_none());
        let formers =
            none.followed_by(Some(&same), &view(4, &[A, ("b", State::Draining)], vec![]), now).unwrap();
        let key = Key::new("k", 9).unwrap();
        let leaves = view(4, &[A, ("b", State::Draining)], vec![]);
        assert_eq!(names(&formers.owners(&key, &leaves, now)), ["b"]);
        assert_eq!(names(&formers.owners(&key, &two, now)), [] as [&str; 0], "nobody knows it any more");
        assert_eq!(names(&formers.owners(&key, &leaves, now + FORMER_FOR)), [] as [&str; 0]);
    }

    #[test]
    fn two_rings_are_remembered_and_this_node_is_passed_over() {
        let now = Instant::now();
        let views = [
            view(1, &[B, ("c", State::Draining)], vec![]),
            view(2, &[A, ("b", State::Draining), C], vec![]),
            view(3, &[A, ("b", State::Draining), ("c", State::Draining)], vec![]),
        ];
        let formers = Formers::default().followed_by(Some(&views[0]), &views[1], now).unwrap();
        let formers = formers.followed_by(Some(&views[1]), &views[2], now).unwrap();
        let ring = Ring::new(views[1].snapshot().members());
        for n in 0..50 {
            let key = Key::new(format!("{n}"), 9).unwrap();
            let owners = formers.owners(&key, &views[2], now);
            let was_mine = ring.owner(key.as_bytes()) == Some(0);
            assert_eq!(names(&owners), if was_mine { vec!["b"] } else { vec!["c", "b"] });
        }
        assert_eq!(formers.0.len(), MOST_FORMERS);
        assert_eq!(formers.holders(&views[2]), ["b", "c"]);
    }

    #[test]
    fn a_process_that_has_just_started_takes_the_newest_ring_that_differs_from_the_snapshots_priors() {
        let prior = |sequence, states: &[(&str, State)]| Prior {
            version: Version::new(1, sequence),
            grantors: Vec::new(),
            members: members(states),
        };
        let priors = vec![prior(1, &[B]), prior(2, &[C, B]), prior(3, &[A, B, C])];
        let view = view(4, &[A, B, C, ("d", State::Joining)], priors);
        let formers = Formers::default().followed_by(None, &view, Instant::now()).unwrap();
        assert_eq!(formers.0.len(), 1);
        assert_eq!(formers.holders(&view), ["b", "c"]);
    }

    #[test]
    fn who_leaves_comes_first_and_who_joins_has_nothing() {
        let now = Instant::now();
        let before = view(1, &[B, C, ("d", State::Joining), ("e", State::Active)], vec![]);
        let after =
            view(2, &[A, B, ("c", State::Draining), ("d", State::Active), ("e", State::Joining)], vec![]);
        let formers = Formers::default().followed_by(Some(&before), &after, now).unwrap();
        assert_eq!(formers.holders(&after), ["c", "b"]);
    }
}
