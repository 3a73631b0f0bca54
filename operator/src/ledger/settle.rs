//! When a membership is settled, so that nobody acts by an older one any more (rule G5). Pure.
//!
//! It is settled once the one before it is, and for one staleness bound without interruption all members of the one before had adopted it, or a
//! majority of that one's grantors had. Such a majority grants nothing by the older one any more, and after the bound what it had granted has run
//! out; "all have adopted" must wait as well, because a grantor may have granted just before it adopted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use groupcache_ring::{Prior, Version};
use tokio::time::Instant;

use crate::ledger::{Held, chain, is_sound};
use crate::report::Report;

/// Who has adopted what, and since when what has held. Lost with the operator, at the cost of waiting the bound once more.
#[derive(Clone, Debug, Default)]
pub struct Settling {
    /// The newest version that a pod reported. It never goes back: a node keeps its membership on disk, across restarts of its container too.
    adopted: HashMap<String, Version>,
    /// Since when enough have adopted a membership.
    since: BTreeMap<Version, Instant>,
}

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Watch<'a> {
    /// The moment of the look.
    pub now: Instant,
    /// What is in force.
    pub held: &'a Held,
    /// What the nodes said, by pod uid.
    pub reports: &'a HashMap<String, Report>,
    /// The uids of all pods and endpoints that there are.
    ///
    /// Who is not among them has adopted everything: a process that is no more serves nothing. Kubernetes takes a pod from the API only once its
    /// containers have ended, unless somebody deletes it by force; whoever does that vouches for it.
    pub alive: &'a HashSet<String>,
}

/// How far things have settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The newest settled version.
    pub settled: Version,
    /// What the next one waits for; `None`: what is in force is settled.
    pub waits: Option<Wait>,
}

/// What a membership waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wait {
    /// That these members adopt it, or enough of them.
    Adoption {
        /// The membership.
        version: Version,
        /// Their names.
        by: Vec<String>,
    },
    /// The staleness bound.
    Bound {
        /// The membership.
        version: Version,
        /// The whole of it.
        bound: Duration,
        /// What is left of it.
        left: Duration,
    },
}

/// What a membership follows.
#[derive(Clone, Copy, Debug)]
enum Before<'a> {
    /// This one.
    Known(&'a Prior),
    /// One in which nobody could keep copies: there is no grant to wait for.
    Empty,
    /// Something that the ledger was lost with. Those who are there now are taken for those who were.
    Forgotten,
}

impl Settling {
    /// How far things have settled now.
    pub fn look(&mut self, watch: &Watch<'_>) -> Settlement {
        let chain = chain::of(watch.held);
        self.note(watch, &chain);
        let told = watch.held.snapshot.settled();
        let mut settlement = Settlement { settled: told, waits: None };
        for (place, membership) in chain.iter().enumerate() {
            if membership.version <= told {
                continue;
            }
            let before = match place.checked_sub(1) {
                Some(place) => Before::Known(&chain[place]),
                None if told > Version::PROVISIONAL => Before::Empty,
                None => Before::Forgotten,
            };
            // Each has its own clock, but none settles before the one that it follows.
            let wait = self.wait(watch, before, membership);
            match (wait, &settlement.waits) {
                (_, Some(_)) => {}
                (None, None) => settlement.settled = membership.version,
                (wait, None) => settlement.waits = wait,
            }
        }
        settlement
    }

    /// Brings up to date what nodes have adopted, and forgets what binds nobody any more.
    fn note(&mut self, watch: &Watch<'_>, chain: &[Prior]) {
        for (uid, report) in watch.reports {
            if let Some(applied) = report.applied.filter(|applied| is_sound(applied.version)) {
                let adopted = self.adopted.entry(uid.clone()).or_default();
                *adopted = applied.version.max(*adopted);
            }
        }
        let members: HashSet<&str> =
            chain.iter().flat_map(|m| &m.members).map(|member| member.pod_uid.as_str()).collect();
        self.adopted.retain(|uid, _| members.contains(uid.as_str()));
        self.since.retain(|version, _| chain.iter().any(|membership| membership.version == *version));
    }

    fn wait(&mut self, watch: &Watch<'_>, before: Before<'_>, membership: &Prior) -> Option<Wait> {
        let version = membership.version;
        let of = if let Before::Known(prior) = before { prior } else { membership };
        let has = |uid: &String| {
            let reported = self.adopted.get(uid).is_some_and(|adopted| *adopted >= version);
            reported || !watch.alive.contains(uid)
        };
        let behind: Vec<&str> =
            of.members.iter().filter(|m| !has(&m.pod_uid)).map(|m| m.name.as_str()).collect();
        let everyone = behind.is_empty();
        if everyone && matches!(before, Before::Empty) {
            return None;
        }
        let enough = match before {
            _ if of.majority() > 0 => {
                let late = of.grantors.iter().filter(|name| behind.contains(&name.as_str())).count();
                of.grantors.len() - late >= of.majority()
            }
            // Nobody grants by either: time alone makes sure that who is there has heard of the newer one, or is cut off.
            Before::Empty => true,
            Before::Forgotten => behind.len() * 2 < of.members.len(),
            Before::Known(_) => false,
        };
        if !everyone && !enough {
            self.since.remove(&version);
            return Some(Wait::Adoption { version, by: behind.into_iter().map(str::to_owned).collect() });
        }
        let bound = watch.held.longest_bound;
        let end = *self.since.entry(version).or_insert(watch.now) + bound;
        let left = end.saturating_duration_since(watch.now);
        (!left.is_zero()).then_some(Wait::Bound { version, bound, left })
    }
}

impl Settlement {
    /// When to look again though nothing happens.
    #[must_use]
    pub fn look_again_in(&self) -> Option<Duration> {
        match self.waits {
            Some(Wait::Bound { left, .. }) => Some(left),
            _ => None,
        }
    }
}

impl fmt::Display for Wait {
    /// For people; does not change while the bound passes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wait::Adoption { version, by } => write!(f, "waiting for {} to adopt {version}", by.join(", ")),
            Wait::Bound { version, bound, .. } => {
                write!(
                    f,
                    "waiting for the staleness bound of {} s to pass since {version}",
                    bound.as_secs()
                )?;
                write!(f, " was adopted")
            }
        }
    }
}

#[cfg(test)]
mod tests;
