//! Between the rounds of a Remove: grantors bar the unreached, and the grants these may hold run out (R2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use groupcache_ring::Member;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::expiry::after;
use crate::group::remove::NodeFailure;
use crate::group::remove::removal::{Removal, Stop};
use crate::peer::{BarAck, BarRequest, PeerError};
use crate::simulation::{Rule, off};

/// Between two tries at a grantor that cannot be reached.
const RETRY: Duration = Duration::from_millis(50);

type Asked = BoxFuture<'static, (String, Result<BarAck, PeerError>)>;

impl Removal {
    /// Returns once a blocking set of every membership that binds bars the unreached, and the last grants that any of them gave have run out.
    pub(super) async fn bar(
        &mut self,
        unreached: &BTreeSet<String>,
        why: &BTreeMap<String, String>,
    ) -> Result<(), Stop> {
        let clock = self.group.grants.clock().clone();
        let mut bars: BTreeSet<String> = BTreeSet::new();
        let mut silent_from = clock.now();
        let until = self.deadline.min(after(Instant::now(), self.window));
        let mut adopted = self.group.adopted.subscribe();
        let mut asked = BTreeSet::new();
        let mut acks: FuturesUnordered<Asked> = FuturesUnordered::new();
        loop {
            for grantor in self.to_ask(unreached, &asked) {
                asked.insert(grantor.name.clone());
                acks.push(self.ask(grantor, unreached, until));
            }
            if self.ahead().is_none() && self.blocked(unreached, |grantor| bars.contains(grantor)) {
                break;
            }
            tokio::select! {
                biased;
                Some((grantor, ack)) = acks.next() => if let Ok(ack) = ack {
                    self.heard(&grantor, ack.version);
                    silent_from = silent_from.max(after(clock.now(), ack.remaining));
                    bars.insert(grantor);
                },
                changed = adopted.changed() => {
                    if changed.is_err() {
                        return Err(Stop::Failed(self.unbarred(unreached, why)));
                    }
                    self.learn();
                }
                () = sleep_until(until) => return Err(Stop::Failed(self.unbarred(unreached, why))),
            }
        }
        let left = silent_from.saturating_duration_since(clock.now());
        if after(Instant::now(), left) >= self.deadline {
            return Err(Stop::Failed(overtime(unreached, why, left)));
        }
        // Twice round at most, unless the machine sleeps: the runtime's clock and this one run alike.
        while clock.now() < silent_from && !off(Rule::WaitOut) {
            sleep(silent_from.saturating_duration_since(clock.now()).max(Duration::from_millis(1))).await;
        }
        Ok(())
    }

    /// The grantors that may bar the unreached and were not asked yet. Those who are unreached themselves do not count.
    fn to_ask(&self, unreached: &BTreeSet<String>, asked: &BTreeSet<String>) -> Vec<Member> {
        let names: BTreeSet<&String> = self.priors.values().flat_map(|prior| &prior.grantors).collect();
        if unreached.is_empty() {
            return Vec::new();
        }
        let wanted = names.into_iter().filter(|name| !unreached.contains(*name) && !asked.contains(*name));
        wanted.filter_map(|name| self.members.get(name)).cloned().collect()
    }

    fn ask(&mut self, grantor: Member, unreached: &BTreeSet<String>, until: Instant) -> Asked {
        self.barring.insert(grantor.name.clone());
        self.barred.extend(unreached.iter().cloned());
        let request = BarRequest {
            id: self.id,
            nodes: unreached.iter().cloned().collect(),
            lift: false,
            version: self.view.version(),
            deadline: until,
        };
        if grantor.name == self.me() {
            let ack = self.group.grants.bar(request.id, &request.nodes, false, request.version);
            return Box::pin(std::future::ready((grantor.name, Ok(ack))));
        }
        let group = self.group.clone();
        Box::pin(async move {
            loop {
                let bar = group.peers.bar(&grantor, request.clone());
                let ack = timeout_at(until, bar).await.unwrap_or(Err(PeerError::DeadlineExceeded));
                let over = Instant::now() + RETRY >= until;
                match ack {
                    Err(PeerError::Unreachable(_) | PeerError::Refused(_)) if !over => sleep(RETRY).await,
                    ack => return (grantor.name, ack),
                }
            }
        })
    }

    fn unbarred(&self, unreached: &BTreeSet<String>, why: &BTreeMap<String, String>) -> Vec<NodeFailure> {
        if let Some(ahead) = self.ahead() {
            return vec![ahead];
        }
        let fate = "and too few grantors can be reached to keep it from serving copies";
        named(unreached, why, fate)
    }
}

fn overtime(
    unreached: &BTreeSet<String>,
    why: &BTreeMap<String, String>,
    left: Duration,
) -> Vec<NodeFailure> {
    let fate = format!(
        "and it may serve copies for another {} ms, which is beyond the deadline: allow more time",
        left.as_millis()
    );
    named(unreached, why, &fate)
}

fn named(unreached: &BTreeSet<String>, why: &BTreeMap<String, String>, fate: &str) -> Vec<NodeFailure> {
    let reason = |node: &String| why.get(node).map_or("no answer", String::as_str);
    let failure =
        |node: &String| NodeFailure { node: node.clone(), reason: format!("{}, {fate}", reason(node)) };
    unreached.iter().map(failure).collect()
}
