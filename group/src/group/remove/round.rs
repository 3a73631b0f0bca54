//! One round of a Remove: tells every member to purge, and takes what is acknowledged within one window.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use groupcache_ring::Member;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::expiry::after;
use crate::group::remove::NodeFailure;
use crate::group::remove::removal::Removal;
use crate::peer::{PeerError, PurgeAck, PurgeRequest, Purged};
use crate::simulation::{Rule, off};
use crate::view::Place;

/// Between two tries at a node that refuses or cannot be reached: it may be starting, and until the window is over it is not given up (R1).
const RETRY: Duration = Duration::from_millis(50);

/// What came of a round.
pub(super) struct Round {
    /// The nodes that acknowledged in time.
    pub(super) acknowledged: BTreeSet<String>,
    /// Why others did not.
    pub(super) reasons: BTreeMap<String, String>,
    /// Whom each grantor says that it bars.
    confirmed: BTreeMap<String, Vec<String>>,
    /// Who had to acknowledge.
    awaited: BTreeSet<String>,
    /// Somebody knows a newer membership than this node could adopt in time.
    ahead: Option<NodeFailure>,
}

impl Round {
    /// True if all who had to have acknowledged.
    pub(super) fn all_in_time(&self) -> bool {
        self.ahead.is_none() && self.awaited.is_subset(&self.acknowledged)
    }

    /// Who had to and did not.
    pub(super) fn missing(&self) -> BTreeSet<String> {
        self.awaited.difference(&self.acknowledged).cloned().collect()
    }

    /// True if the grantor says that it bars all of these.
    pub(super) fn confirms(&self, grantor: &str, unreached: &BTreeSet<String>) -> bool {
        self.confirmed.get(grantor).is_some_and(|barred| unreached.iter().all(|node| barred.contains(node)))
    }

    /// Each node that did not acknowledge, with the reason; those of `before` too.
    pub(super) fn failures(&self, before: &BTreeMap<String, String>) -> Vec<NodeFailure> {
        let mut reasons = before.clone();
        reasons.extend(self.reasons.clone());
        reasons.retain(|node, _| !self.acknowledged.contains(node));
        let failure = |(node, reason)| NodeFailure { node, reason };
        self.ahead.iter().cloned().chain(reasons.into_iter().map(failure)).collect()
    }
}

type Told = BoxFuture<'static, (String, Result<PurgeAck, PeerError>)>;

impl Removal {
    /// Purges here, then at every member at once. Those in `excused` are told too, and not waited for.
    pub(super) async fn round(&mut self, number: u32, excused: &BTreeSet<String>) -> Round {
        let clock = self.group.grants.clock().clone();
        // By the clock that goes on while the machine sleeps: what comes after the first window has closed is no acknowledgement.
        let ends = after(clock.now(), self.window);
        let until = self.deadline.min(after(Instant::now(), self.window));
        let mut round = self.purge_here(number);
        let mut adopted = self.group.adopted.subscribe();
        let mut told = BTreeSet::from([self.me().to_owned()]);
        let mut acks: FuturesUnordered<Told> = FuturesUnordered::new();
        loop {
            for member in self.members.values().filter(|member| !told.contains(&member.name)) {
                acks.push(self.tell(member.clone(), number, until));
            }
            told.extend(self.members.keys().cloned());
            round.awaited = self.awaited(told.iter(), excused);
            if self.ahead().is_none() && round.all_in_time() {
                break;
            }
            tokio::select! {
                biased;
                Some((node, ack)) = acks.next() => {
                    // A task that was kept from running finds the answer and the end at once, and is handed the answer.
                    let ack = if clock.now() < ends { ack } else { Err(PeerError::DeadlineExceeded) };
                    self.answered(node, ack, &mut round);
                }
                changed = adopted.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.learn();
                }
                () = sleep_until(until) => break,
            }
            if Instant::now() >= until {
                break;
            }
        }
        if acks.iter().next().is_some() {
            // Those who are not waited for are told all the same (R4), until the round's end.
            tokio::spawn(async move { while acks.next().await.is_some() {} });
        }
        self.learn();
        round.awaited = self.awaited(self.members.keys(), excused);
        for node in round.missing() {
            round.reasons.entry(node).or_insert_with(|| PeerError::DeadlineExceeded.to_string());
        }
        round.ahead = self.ahead();
        round
    }

    /// Who of these must acknowledge.
    fn awaited<'a>(
        &self,
        of: impl Iterator<Item = &'a String>,
        excused: &BTreeSet<String>,
    ) -> BTreeSet<String> {
        of.filter(|node| !excused.contains(*node) && (!off(Rule::PurgeAll) || self.owns(node)))
            .cloned()
            .collect()
    }

    /// True if the node owns what is purged.
    fn owns(&self, node: &str) -> bool {
        let Purged::Keys(keys) = &self.what else { return true };
        keys.iter().any(|key| match self.view.owner(key.as_bytes()) {
            Some(Place::Peer(owner)) => owner.name == node,
            _ => false,
        })
    }

    /// This node first: it is a member like the others.
    fn purge_here(&mut self, number: u32) -> Round {
        let me = self.me().to_owned();
        let generation = self.group.purge(&self.what, self.window, self.source_version);
        self.generations = [(me.clone(), generation)].into();
        let mut confirmed = BTreeMap::new();
        if number > 1 {
            confirmed.insert(me.clone(), self.group.grants.confirm(self.id));
        }
        Round {
            acknowledged: [me].into(),
            reasons: BTreeMap::new(),
            confirmed,
            awaited: BTreeSet::new(),
            ahead: None,
        }
    }

    /// Tells one member until it acknowledges or the round ends.
    fn tell(&self, member: Member, number: u32, until: Instant) -> Told {
        let group = self.group.clone();
        let request = PurgeRequest {
            group: group.name.clone(),
            what: self.what.clone(),
            window: self.window,
            source_version: self.source_version,
            id: self.id,
            round: number,
            version: self.view.version(),
            deadline: until,
        };
        Box::pin(async move {
            loop {
                let purge = group.peers.purge(&member, request.clone());
                let ack = timeout_at(until, purge).await.unwrap_or(Err(PeerError::DeadlineExceeded));
                let over = Instant::now() + RETRY >= until;
                match ack {
                    Err(PeerError::Unreachable(_) | PeerError::Refused(_)) if !over => sleep(RETRY).await,
                    ack => return (member.name, ack),
                }
            }
        })
    }

    fn answered(&mut self, node: String, ack: Result<PurgeAck, PeerError>, round: &mut Round) {
        match ack {
            Ok(ack) => {
                self.heard(&node, ack.version);
                self.generations.insert(node.clone(), ack.generation);
                round.confirmed.insert(node.clone(), ack.barred);
                round.acknowledged.insert(node);
            }
            Err(error) => {
                round.reasons.insert(node, error.to_string());
            }
        }
    }
}
