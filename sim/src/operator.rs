//! Who publishes memberships, by the rules of settling (G5) and joining (G6); it can be away, or replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use groupcache_ring::{Member, Prior, Snapshot, State, Version};

use crate::chance::Chance;
use crate::network::{Body, Call, Letter, Said};
use crate::plan::{OPERATOR, Plan};
use crate::shared::{Shared, name, node_of};

/// Between two pushes of the same snapshot to the same pod, in milliseconds.
const PUSH_AGAIN: u64 = 300;

/// Memberships that may wait to settle; beyond, the ring stands still.
const MOST_UNSETTLED: usize = 6;

/// A change of the membership that somebody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A pod that is new joins.
    Join(usize),
    /// A member gives up its keys.
    Drain(usize),
    /// A member goes, whatever it did before.
    Leave(usize),
    /// Other members grant.
    Regrant,
}

/// The control plane.
#[derive(Debug)]
pub struct Operator {
    chance: Chance,
    /// Everything ever published, and which of it is settled: what a new operator finds.
    ledger: Vec<Arc<Snapshot>>,
    settled: usize,
    grantors: usize,
    /// So long must an adoption have held.
    hold: u64,
    /// True while none runs.
    pub away: bool,
    successor: bool,
    /// By pod, which versions it was seen to have adopted, and when.
    adopted: BTreeMap<String, Vec<(Version, u64)>>,
    /// Pods that are no more, and since when.
    dead: BTreeMap<String, u64>,
    /// The pod at each place.
    pods: BTreeMap<usize, String>,
    pushes: BTreeMap<usize, u64>,
    calls: BTreeMap<u64, String>,
    wishes: Vec<Change>,
}

impl Operator {
    /// Its first membership: these pods are Active.
    ///
    /// # Panics
    /// If the membership has a fault.
    #[must_use]
    pub fn new(plan: &Plan, pods: BTreeMap<usize, String>) -> Self {
        let members: Vec<Member> =
            pods.iter().map(|(place, uid)| member(*place, uid, State::Active)).collect();
        let mut chance = Chance::new(plan.seed, 4);
        let grantors = choose(&mut chance, &members, &[], plan.grantors);
        let version = Version::new(1, 1);
        let first = Snapshot::new("uid", version, version, grantors, members);
        Operator {
            chance,
            ledger: vec![Arc::new(first.expect("a sound membership"))],
            settled: 0,
            grantors: plan.grantors,
            // Longer than the bound by what clocks may differ.
            hold: plan.bound + plan.bound / 32 + 20,
            away: false,
            successor: false,
            adopted: BTreeMap::new(),
            dead: BTreeMap::new(),
            pods,
            pushes: BTreeMap::new(),
            calls: BTreeMap::new(),
            wishes: Vec::new(),
        }
    }

    /// The newest membership.
    #[must_use]
    pub fn newest(&self) -> &Arc<Snapshot> {
        &self.ledger[self.ledger.len() - 1]
    }

    /// True if everything that binds has settled and every member is Active: nothing more will be published.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let newest = self.newest();
        self.wishes.is_empty()
            && newest.priors().is_empty()
            && newest.members().iter().all(|member| member.state == State::Active)
    }

    /// A change is wanted.
    pub fn wish(&mut self, change: Change) {
        self.wishes.push(change);
    }

    /// There is another pod at a place, or none any more.
    pub fn pod(&mut self, now: u64, place: usize, uid: Option<String>) {
        let former = match uid {
            Some(uid) => self.pods.insert(place, uid),
            None => self.pods.remove(&place),
        };
        if let Some(former) = former {
            self.dead.insert(former, now);
        }
    }

    /// A new operator takes over: it knows the ledger and nothing else.
    pub fn replace(&mut self) {
        self.away = false;
        self.successor = true;
        self.adopted.clear();
        self.calls.clear();
        self.pushes.clear();
    }

    /// A pod has answered a push.
    pub fn answered(&mut self, now: u64, letter: &Letter) {
        let Body::Said(Said::Adopted(version)) = letter.body else { return };
        let Some(uid) = self.calls.remove(&letter.call).filter(|_| !self.away) else { return };
        let seen = self.adopted.entry(uid).or_default();
        if seen.last().is_none_or(|(last, _)| *last < version) {
            seen.push((version, now));
        }
    }

    /// Does what is due.
    pub fn step(&mut self, now: u64, shared: &Shared) {
        if self.away {
            return;
        }
        while self.settled + 1 < self.ledger.len() && self.settles(self.settled + 1, now) {
            self.settled += 1;
            let version = self.ledger[self.settled].version();
            shared.note("settled", OPERATOR, version.epoch, version.sequence);
        }
        self.publish(shared);
        self.push(now, shared);
    }

    /// G5: all members of the one before, or a majority of its grantors, have adopted this or a newer one, and that has held.
    fn settles(&self, at: usize, now: u64) -> bool {
        let (before, version) = (&self.ledger[at - 1], self.ledger[at].version());
        let since = |member: &Member| {
            let seen = self
                .adopted
                .get(&member.pod_uid)
                .and_then(|seen| seen.iter().find(|(adopted, _)| *adopted >= version).map(|(_, at)| *at));
            seen.or_else(|| self.dead.get(&member.pod_uid).copied())
        };
        let held = |since: u64| since + self.hold <= now;
        let all = before.members().iter().all(|member| since(member).is_some_and(held));
        let grantors = before.grantors().iter().filter_map(|grantor| before.member(grantor));
        let adopted = grantors.filter(|grantor| since(grantor).is_some_and(held)).count();
        all || (!before.grantors().is_empty() && adopted > before.grantors().len() / 2)
    }

    fn publish(&mut self, shared: &Shared) {
        let newest = self.newest().clone();
        if self.ledger.len() - 1 - self.settled >= MOST_UNSETTLED {
            return;
        }
        let mut members: BTreeMap<usize, Member> =
            newest.members().iter().map(|member| (node_of(&member.name), member.clone())).collect();
        let regrant = self.grant_wishes(&mut members);
        for (place, member) in &mut members {
            match self.pods.get(place) {
                // Another pod of that name: it knows nothing of what its predecessor knew.
                Some(uid) if *uid != member.pod_uid => {
                    *member = self::member(*place, uid, State::Joining);
                }
                _ if member.state == State::Joining && self.has_joined(member) => {
                    member.state = State::Active;
                }
                _ => {}
            }
        }
        let members: Vec<Member> = members.into_values().collect();
        if !members.iter().any(|member| member.state == State::Active) {
            return;
        }
        let present = if regrant { &[][..] } else { newest.grantors() };
        let grantors = choose(&mut self.chance, &members, present, self.grantors);
        let same = members == newest.members() && grantors == newest.grantors();
        let lighter = same && !newest.priors().is_empty() && self.settled + 1 == self.ledger.len();
        if !same || lighter {
            self.write(shared, grantors, members);
        }
    }

    /// Changes the members as wished; true if others are to grant.
    fn grant_wishes(&mut self, members: &mut BTreeMap<usize, Member>) -> bool {
        let mut regrant = false;
        for wish in std::mem::take(&mut self.wishes) {
            match wish {
                Change::Join(place) => {
                    if let Some(uid) = self.pods.get(&place) {
                        members.entry(place).or_insert_with(|| member(place, uid, State::Joining));
                    }
                }
                Change::Drain(place) => {
                    let member = members.get_mut(&place).filter(|member| member.state == State::Active);
                    if let Some(member) = member {
                        member.state = State::Draining;
                    }
                }
                Change::Leave(place) => {
                    members.remove(&place);
                }
                Change::Regrant => regrant = true,
            }
        }
        regrant
    }

    /// G6: the first view in which this pod was Joining has settled.
    fn has_joined(&self, member: &Member) -> bool {
        let is_it = |one: &Member| one.name == member.name && one.pod_uid == member.pod_uid;
        let mut since = self.ledger.len();
        for (at, snapshot) in self.ledger.iter().enumerate().rev() {
            if !snapshot.members().iter().any(is_it) {
                break;
            }
            since = at;
        }
        since <= self.settled
    }

    fn write(&mut self, shared: &Shared, grantors: Vec<String>, members: Vec<Member>) {
        let newest = self.newest().version();
        let version = if std::mem::take(&mut self.successor) { newest.next_epoch() } else { newest.next() };
        let settled = self.ledger[self.settled].version();
        let snapshot = Snapshot::new("uid", version, settled, grantors, members).expect("a sound membership");
        let mut priors: Vec<Prior> = self.ledger[self.settled..].iter().map(|one| one.as_prior()).collect();
        priors.push(snapshot.as_prior());
        let binding =
            priors.windows(2).filter(|pair| !pair[0].binds_as(&pair[1])).map(|pair| pair[0].clone());
        let binding: Vec<Prior> = binding.collect();
        let snapshot = snapshot.with_priors(binding).expect("memberships in order");
        shared.note("publishes", OPERATOR, version.epoch, version.sequence);
        self.ledger.push(Arc::new(snapshot));
    }

    fn push(&mut self, now: u64, shared: &Shared) {
        let newest = self.newest().clone();
        for (place, uid) in &self.pods {
            let behind = self
                .adopted
                .get(uid)
                .and_then(|seen| seen.last())
                .is_none_or(|(last, _)| *last < newest.version());
            let due = self.pushes.get(place).is_none_or(|last| last + PUSH_AGAIN <= now);
            if behind && due {
                let mut network = shared.network.lock();
                let call = network.next_call();
                let body = Body::Call(Version::PROVISIONAL, Call::Push(newest.clone()));
                network.send(now, call, OPERATOR, *place, body);
                drop(network);
                self.calls.insert(call, uid.clone());
                self.pushes.insert(*place, now);
            }
        }
    }
}

fn member(place: usize, uid: &str, state: State) -> Member {
    Member { pod_uid: uid.to_owned(), state, ..Member::active(name(place), format!("n{place}:1")) }
}

/// An odd number of Active members: those who grant already first.
fn choose(chance: &mut Chance, members: &[Member], present: &[String], wanted: usize) -> Vec<String> {
    let active = |name: &str| members.iter().any(|one| one.name == name && one.state == State::Active);
    let mut grantors: Vec<String> = present.iter().filter(|name| active(name)).cloned().collect();
    let mut others: Vec<&Member> = members
        .iter()
        .filter(|member| member.state == State::Active && !grantors.contains(&member.name))
        .collect();
    let most = wanted.min(grantors.len() + others.len());
    let most = if most.is_multiple_of(2) { most.saturating_sub(1) } else { most };
    while grantors.len() < most {
        grantors.push(others.remove(chance.place(others.len())).name.clone());
    }
    grantors.truncate(most);
    grantors
}
