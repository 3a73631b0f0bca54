//! The half that needs grants: until when this node may serve copies, and when what it holds has lapsed (G1, G2, K5).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_ring::{Member, Prior, State, Version};
use tokio::time::Instant;

use crate::expiry::after;
use crate::simulation::{Rule, off};
use crate::view::View;

/// Whom to ask for grants, and under which view.
#[derive(Clone, Debug)]
pub struct Asking {
    /// To be named when a grant comes.
    pub term: u64,
    /// The version of the view.
    pub version: Version,
    /// Each of them once.
    pub grantors: Vec<Member>,
}

/// The grants that a node holds. It knows no clock: whoever calls says what time it is.
#[derive(Debug)]
pub struct Asker {
    bound: Duration,
    view: Option<Arc<View>>,
    /// Counts views that bind differently: a grant obtained under another one does not count (G1).
    term: u64,
    /// By grantor, when its grant is void.
    grants: HashMap<String, Instant>,
    /// Until when the grants held since the last lapse have covered this node. Copies stay until then and no longer.
    covered: Option<Instant>,
}

impl Asker {
    /// No view, no grant.
    #[must_use]
    pub fn new(bound: Duration) -> Self {
        Asker { bound, view: None, term: 0, grants: HashMap::new(), covered: None }
    }

    /// A bound for the grants to come.
    pub fn set_bound(&mut self, bound: Duration) {
        self.bound = bound;
    }

    /// The bound in force.
    #[must_use]
    pub fn bound(&self) -> Duration {
        self.bound
    }

    /// Adopts a view: serving is suspended until grants under it are there (G2). True if it is a lapse: this node may not keep anything in it.
    ///
    /// A version that changes only configuration, addresses or processes binds as the one before: the grants stay.
    pub fn adopt(&mut self, view: &Arc<View>) -> bool {
        let same = self.view.as_ref().is_some_and(|before| before.binds_as(view));
        if !same {
            self.term += 1;
            self.grants.clear();
        }
        self.view = Some(view.clone());
        let lapse = !view.may_keep();
        if lapse {
            self.grants.clear();
            self.covered = None;
        }
        lapse
    }

    /// Enters a grant for a beat sent at `sent` (G3: it runs from the sending). To be called after [`Asker::lapses`].
    pub fn enter(&mut self, by: &str, term: u64, sent: Instant, length: Duration) {
        if term != self.term {
            return;
        }
        let void = after(sent, self.bound.min(length));
        match self.grants.get_mut(by) {
            Some(held) => *held = void.max(*held),
            None => {
                self.grants.insert(by.to_owned(), void);
            }
        }
    }

    /// Until when copies may be served; `None`: not at all. Notes it as covered.
    pub fn cover(&mut self) -> Option<Instant> {
        let view = self.view.as_ref().filter(|view| view.may_keep())?;
        let counts =
            |prior: &&Prior| binds(prior) && (prior.version == view.version() || !off(Rule::EveryMajority));
        let until = view.unsettled().iter().filter(counts).map(|prior| self.majority_until(prior));
        // Without a membership that binds there is nobody to ask, and no right.
        let until = until.min()??;
        self.covered = Some(self.covered.map_or(until, |covered| covered.max(until)));
        Some(until)
    }

    /// True if the coverage has run out: then everything that was held must go before any grant is entered (K5).
    pub fn lapses(&mut self, now: Instant) -> bool {
        let due = self.covered.is_some_and(|covered| covered <= now);
        if due {
            self.covered = None;
            self.grants.clear();
        }
        due
    }

    /// When the coverage runs out.
    #[must_use]
    pub fn covered_until(&self) -> Option<Instant> {
        self.covered
    }

    /// The grantors of every membership from the settled one on, each once; `None` while no grant would be of any use.
    #[must_use]
    pub fn to_ask(&self) -> Option<Asking> {
        let view = self.view.as_ref().filter(|view| view.may_keep())?;
        let mut names: Vec<&String> = view.unsettled().iter().flat_map(|prior| &prior.grantors).collect();
        names.sort();
        names.dedup();
        let grantors = names.into_iter().filter_map(|name| view.known(name)).cloned().collect();
        Some(Asking { term: self.term, version: view.version(), grantors })
    }

    /// Until when a majority of these grantors has granted.
    fn majority_until(&self, prior: &Prior) -> Option<Instant> {
        let mut voids: Vec<Instant> =
            prior.grantors.iter().filter_map(|grantor| self.grants.get(grantor)).copied().collect();
        voids.sort_by(|one, other| other.cmp(one));
        // A membership that has keepers but no grantors lets nobody serve.
        voids.get(prior.majority().checked_sub(1)?).copied()
    }
}

/// In a membership in which nobody may keep anything nobody serves by it either, so it binds nobody.
fn binds(prior: &Prior) -> bool {
    prior.members.iter().any(|member| matches!(member.state, State::Active | State::Draining))
}
