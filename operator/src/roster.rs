//! Who is in the ring: from the endpoints that exist, the members before, and what nodes acknowledged. Pure.
//!
//! A pod is Joining as soon as it has an address, Active once a membership in which it is Joining has settled and it has
//! acknowledged the newest, Draining as soon as it terminates, and no member when it is gone. Readiness matters only for leaving,
//! and only after [`HOLD_DOWN`]: a node that is slow for a moment must not move everyone's keys. However wrong the endpoints look,
//! no step takes more than half of the Active members ([`GUARD_PATIENCE`]), and that none of them serves takes nobody's keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use groupcache_ring::{Member, State, Version};
use tokio::time::Instant;

use crate::endpoints::Endpoint;
use crate::report::Report;

/// How long an Active member may be not serving before it loses its keys.
pub const HOLD_DOWN: Duration = Duration::from_secs(30);
/// How long the first members of a ring wait for each other, so that they begin as one membership and not as several in a row.
pub const FIRST_TOGETHER: Duration = Duration::from_secs(5);
/// How long a picture in which most of the ring is missing must last before it is believed.
pub const GUARD_PATIENCE: Duration = Duration::from_secs(60);

/// What the operator remembers between two looks; lost with it, at the cost of waiting the bounds once more.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    not_serving_since: HashMap<String, Instant>,
    /// Since when somebody could be the first to own keys.
    first_since: Option<Instant>,
    /// Lost their keys because they did not serve; they must serve again to get them back.
    demoted: HashSet<String>,
    guard_since: Option<Instant>,
    /// Since when nobody serves at all: when one does again, the others have as long as ever.
    nobody_since: Option<Instant>,
    /// Kept by the guard in the last look, by uid.
    doubted: HashSet<String>,
}

/// What a roster is made from.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// The moment of the look.
    pub now: Instant,
    /// The members before, as the ledger holds them.
    pub before: &'a [Member],
    /// The version that the ledger holds.
    pub version: Version,
    /// The uids of those who are known to everyone who acts, and so may own keys.
    pub joined: &'a HashSet<String>,
    /// Every endpoint there is, from a live list.
    pub endpoints: &'a [Endpoint],
    /// What the nodes acknowledged, by pod uid.
    pub reports: &'a HashMap<String, Report>,
    /// How many members there are meant to be.
    pub replicas: usize,
}

/// The members, and when to look again though nothing happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Sorted by name.
    pub members: Vec<Member>,
    /// The nearest bound that will run out.
    pub look_again_in: Option<Duration>,
    /// Members that the guard keeps although they look gone.
    pub guarded: Vec<String>,
}

/// The members now. `holds` is brought up to date.
#[must_use]
pub fn roster(sight: &Sight<'_>, holds: &mut Holds) -> Roster {
    let present = one_per_name(sight.endpoints, sight.before);
    let uids: HashSet<&str> = present.values().map(|e| e.pod_uid.as_str()).collect();
    holds.forget_all_but(&uids);
    let mut waits = Waits::new(sight.now);
    let together = first_together(sight, &present, holds, &mut waits);

    let mut members: BTreeMap<String, Member> = BTreeMap::new();
    for (name, endpoint) in &present {
        let before = sight.before.iter().find(|m| m.name == *name && m.pod_uid == endpoint.pod_uid);
        let state = next_state(endpoint, before, sight, together, holds, &mut waits);
        members.insert((*name).to_owned(), member(endpoint, state, before, sight.reports));
    }
    let guarded = guard(sight, &mut members, holds, &mut waits);
    Roster { members: members.into_values().collect(), look_again_in: waits.nearest(), guarded }
}

/// The members as they were, as far as can be told without a ledger: whoever serves is in the ring.
///
/// For a ledger that was lost while nodes run: to begin with an empty ring would take every key from its owner for a moment.
#[must_use]
pub fn recovered(endpoints: &[Endpoint], reports: &HashMap<String, Report>) -> Vec<Member> {
    let present = one_per_name(endpoints, &[]);
    let serving = present.values().filter(|endpoint| endpoint.serving && !endpoint.terminating);
    serving.map(|endpoint| member(endpoint, State::Active, None, reports)).collect()
}

/// Two pods may have one name for a moment: the one that terminates has lost it, and of two others the newer has it.
fn one_per_name<'a>(endpoints: &'a [Endpoint], before: &[Member]) -> BTreeMap<&'a str, &'a Endpoint> {
    let known: HashSet<&str> = before.iter().map(|member| member.pod_uid.as_str()).collect();
    let rank = |e: &Endpoint| (!e.terminating, !known.contains(e.pod_uid.as_str()), e.pod_uid.clone());
    let mut present: BTreeMap<&str, &Endpoint> = BTreeMap::new();
    for endpoint in endpoints {
        let held = present.entry(&endpoint.name).or_insert(endpoint);
        if rank(endpoint) > rank(held) {
            *held = endpoint;
        }
    }
    present
}

fn next_state(
    endpoint: &Endpoint,
    before: Option<&Member>,
    sight: &Sight<'_>,
    together: bool,
    holds: &mut Holds,
    waits: &mut Waits,
) -> State {
    if endpoint.terminating {
        return State::Draining;
    }
    match before.map(|member| member.state) {
        Some(State::Active) => still_active(endpoint, holds, waits),
        // It was told that it leaves and yet stays: the safe way back is through the door.
        Some(State::Draining) => State::Joining,
        Some(State::Joining) if together && may_own(endpoint, sight, holds) => State::Active,
        Some(State::Joining) | None => State::Joining,
    }
}

fn still_active(endpoint: &Endpoint, holds: &mut Holds, waits: &mut Waits) -> State {
    let uid = &endpoint.pod_uid;
    if endpoint.serving {
        holds.not_serving_since.remove(uid);
        return State::Active;
    }
    if waits.for_what(&mut holds.not_serving_since, uid, HOLD_DOWN) {
        return State::Active;
    }
    holds.demoted.insert(uid.clone());
    State::Joining
}

fn may_own(endpoint: &Endpoint, sight: &Sight<'_>, holds: &mut Holds) -> bool {
    let uid = &endpoint.pod_uid;
    let must_serve = holds.demoted.contains(uid);
    if !sight.joined.contains(uid) || !sight.has(uid) || (must_serve && !endpoint.serving) {
        return false;
    }
    holds.demoted.remove(uid);
    holds.not_serving_since.remove(uid);
    true
}

/// True unless nobody owns keys yet and it is worth a moment to let the others begin as well.
fn first_together(
    sight: &Sight<'_>,
    present: &BTreeMap<&str, &Endpoint>,
    holds: &mut Holds,
    waits: &mut Waits,
) -> bool {
    let staying = || present.values().copied().filter(|endpoint| !endpoint.terminating);
    let ready =
        |endpoint: &Endpoint| sight.joined.contains(&endpoint.pod_uid) && sight.has(&endpoint.pod_uid);
    let first = sight.before.iter().all(|member| member.state == State::Joining);
    if !first || !staying().any(ready) {
        holds.first_since = None;
        return true;
    }
    let everyone = staying().all(ready);
    everyone || !waits.until(*holds.first_since.get_or_insert(sight.now) + FIRST_TOGETHER)
}

impl Sight<'_> {
    fn serves(&self, uid: &str) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.pod_uid == uid && endpoint.serving)
    }

    fn has(&self, uid: &str) -> bool {
        self.reports.get(uid).is_some_and(|report| report.has(self.version))
    }
}

/// Keeps Active members that would be lost, if too many would be lost at once.
fn guard(
    sight: &Sight<'_>,
    members: &mut BTreeMap<String, Member>,
    holds: &mut Holds,
    waits: &mut Waits,
) -> Vec<String> {
    let doubted = std::mem::take(&mut holds.doubted);
    let is_active = |m: &&Member| m.state == State::Active;
    let actives = sight.before.iter().filter(is_active).count();
    let left = members.values().filter(is_active).count();
    // A name that stands for another pod now is lost for certain: the StatefulSet makes the new one only when the old is gone. And one that
    // terminates leaves in good order, whatever the others do: kept, it would hand nothing over. Only the last owner of all stays.
    let leaves_rightly = |now: &Member| now.state == State::Draining && left > 0;
    let lost: Vec<&Member> = sight
        .before
        .iter()
        .filter(is_active)
        .filter(|m| {
            let now = members.get(&m.name);
            now.is_none_or(|now| {
                now.pod_uid == m.pod_uid && now.state != State::Active && !leaves_rightly(now)
            })
        })
        .collect();
    let is_there = |m: &Member| members.get(&m.name).is_some_and(|now| now.state == State::Joining);
    let there: HashSet<&str> = lost.iter().filter(|m| is_there(m)).map(|m| m.name.as_str()).collect();
    let serving = members.values().filter(is_active).filter(|m| sight.serves(&m.pod_uid)).count();
    let asked_for = left >= sight.replicas;
    let most_lost = lost.len() * 2 > actives;
    // Probes that all fail do not fail in the same moment: whose time has not run out yet belongs to the picture in which that of another has.
    let most_silent = (actives - serving.min(actives)) * 2 > actives;
    if asked_for || !(most_lost || (most_silent && !there.is_empty())) {
        (holds.guard_since, holds.nobody_since) = (None, None);
        // They come back one after the other, too: who is the last has as long as one that alone does not serve.
        let late = |m: &&Member| there.contains(m.name.as_str()) && doubted.contains(&m.pod_uid);
        for member in lost.into_iter().filter(late).filter(|_| !asked_for) {
            holds.not_serving_since.insert(member.pod_uid.clone(), sight.now);
            waits.until(sight.now + HOLD_DOWN);
            members.insert(member.name.clone(), member.clone());
        }
        return Vec::new();
    }
    let nobody_serves = serving == 0 && !there.is_empty();
    let (counts, other) = if nobody_serves {
        (&mut holds.nobody_since, &mut holds.guard_since)
    } else {
        (&mut holds.guard_since, &mut holds.nobody_since)
    };
    *other = None;
    let believed = !waits.until(*counts.get_or_insert(sight.now) + GUARD_PATIENCE);
    if believed && !nobody_serves {
        return Vec::new();
    }
    // A ring without owners answers nobody: who is there and only does not serve is better than none, for however long that lasts.
    let only_there = believed || !most_lost;
    let addresses: HashSet<String> = members.values().map(|m| m.address.clone()).collect();
    let mut kept = Vec::new();
    for member in lost {
        // An address that another pod has now would lead the others astray.
        let moved = !members.contains_key(&member.name) && addresses.contains(&member.address);
        let keeps = if only_there { there.contains(member.name.as_str()) } else { !moved };
        if keeps {
            holds.doubted.insert(member.pod_uid.clone());
            // That the one node of a ring is away says Available; there is no ring that could be missing it.
            if actives > 1 {
                kept.push(member.name.clone());
            }
            members.insert(member.name.clone(), member.clone());
        }
    }
    kept
}

fn member(
    endpoint: &Endpoint,
    state: State,
    before: Option<&Member>,
    reports: &HashMap<String, Report>,
) -> Member {
    let reported = reports.get(&endpoint.pod_uid).and_then(|report| report.applied);
    let boot = reported.map(|applied| applied.boot).or(before.map(|member| member.boot));
    Member {
        name: endpoint.name.clone(),
        pod_uid: endpoint.pod_uid.clone(),
        boot: boot.unwrap_or(0),
        address: endpoint.address.clone(),
        zone: endpoint.zone.clone(),
        state,
    }
}

impl Holds {
    fn forget_all_but(&mut self, present: &HashSet<&str>) {
        self.not_serving_since.retain(|uid, _| present.contains(uid.as_str()));
        self.demoted.retain(|uid| present.contains(uid.as_str()));
    }
}

/// Collects the nearest bound that has not run out.
struct Waits {
    now: Instant,
    nearest: Option<Instant>,
}

impl Waits {
    fn new(now: Instant) -> Self {
        Waits { now, nearest: None }
    }

    /// True while `bound` has not run out since this was first asked for `uid`.
    fn for_what(&mut self, since: &mut HashMap<String, Instant>, uid: &str, bound: Duration) -> bool {
        let since = *since.entry(uid.to_owned()).or_insert(self.now);
        self.until(since + bound)
    }

    /// True while `end` is ahead.
    fn until(&mut self, end: Instant) -> bool {
        let ahead = end > self.now;
        if ahead {
            self.nearest = Some(self.nearest.map_or(end, |nearest| nearest.min(end)));
        }
        ahead
    }

    fn nearest(&self) -> Option<Duration> {
        self.nearest.map(|end| end.duration_since(self.now))
    }
}

#[cfg(test)]
mod tests;
