//! Remove: purges keys at every node, and succeeds only when no node can serve what it held before (R1 to R5).
//!
//! All members acknowledge within one window: one round trip. Otherwise the unreached are barred, their grants are waited out, and everyone else is
//! purged once more. `removal` is one Remove on its way, `round` one round of purges, `bars` what lies between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::group::Group;
use crate::group::remove::removal::{Removal, Stop};
use crate::peer::Purged;
use crate::simulation::{Rule, off};
use crate::stats::Count;
use crate::value::Key;

mod bars;
pub(super) mod removal;
mod round;

/// Removes, Sets and Flushes coordinated at a time; who comes next waits for a place until its deadline.
pub(super) const MOST_REMOVES: usize = 1024;

/// Why a Remove failed. What it purged stays purged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoveError {
    /// The node knows no membership yet, or none that it is in.
    #[error("this node has not been told its membership yet; try another node")]
    NotReady,
    /// Some nodes could not be reached and may still serve copies; each is named with the reason.
    #[error("not every node acknowledged: {}", .0.iter().map(|f| format!("{}: {}", f.node, f.reason)).collect::<Vec<_>>().join("; "))]
    Partial(Vec<NodeFailure>),
}

/// One node that did not acknowledge a purge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// The node's name.
    pub node: String,
    /// Why.
    pub reason: String,
}

impl Group {
    /// Purges keys from every node and answers by `deadline`. What is loaded with a lower version of the source than `source_version` is not kept.
    ///
    /// It runs on if the caller goes away, and is never merged with another Remove: the source may have changed between the two.
    ///
    /// # Errors
    /// See [`RemoveError`]: it names every node that may still serve a copy.
    pub async fn remove(
        self: &Arc<Self>,
        keys: Vec<Key>,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Result<(), RemoveError> {
        let what = Purged::Keys(keys.into());
        self.in_a_task(self.begin(what, source_version, deadline)?).await
    }

    /// Purges every key from every node, as [`Group::remove`] does with some.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn flush(self: &Arc<Self>, deadline: Instant) -> Result<(), RemoveError> {
        self.in_a_task(self.begin(Purged::Group, None, deadline)?).await
    }

    /// Runs to its end even if the caller goes away.
    async fn in_a_task(self: &Arc<Self>, mut removal: Removal) -> Result<(), RemoveError> {
        let group = self.clone();
        let task = tokio::spawn(async move {
            let result = removal.coordinate().await;
            group.counters.add(if result.is_ok() { Count::Removes } else { Count::RemovesPartial });
            result
        });
        task.await.unwrap_or_else(|_| Err(self.broke_off()))
    }

    /// A Remove from here. The coordinator is a member: a node that is none does not know who is.
    pub(super) fn begin(
        self: &Arc<Self>,
        what: Purged,
        source_version: Option<u64>,
        deadline: Instant,
    ) -> Result<Removal, RemoveError> {
        let view = self.view().filter(|view| view.my_state().is_some()).ok_or(RemoveError::NotReady)?;
        Ok(Removal::new(self.clone(), view, what, source_version, deadline))
    }

    pub(super) fn broke_off(&self) -> RemoveError {
        let reason = "the call broke off inside this node; try again".to_owned();
        let node = self.view().map_or_else(|| "this node".to_owned(), |view| view.me().to_owned());
        RemoveError::Partial(vec![NodeFailure { node, reason }])
    }
}

impl Removal {
    /// Takes a place among the Removes of this node, runs, and lifts the bars that it has set.
    pub(super) async fn coordinate(&mut self) -> Result<(), RemoveError> {
        let places = self.group.removes.clone();
        let Ok(Ok(_place)) = timeout_at(self.deadline, places.acquire_owned()).await else {
            let reason = format!("{MOST_REMOVES} Removes are on their way here; try again later");
            return Err(RemoveError::Partial(vec![NodeFailure { node: self.me().to_owned(), reason }]));
        };
        let result = self.run().await;
        self.lift_all();
        result.map_err(RemoveError::Partial)
    }

    /// The whole Remove. One whose second round fails begins anew while there is time: a Remove that starts later promises no less.
    async fn run(&mut self) -> Result<(), Vec<NodeFailure>> {
        loop {
            match self.attempt().await {
                Ok(()) => return Ok(()),
                Err(Stop::Again(_)) if Instant::now() + self.window < self.deadline => {}
                Err(Stop::Again(failures) | Stop::Failed(failures)) => return Err(failures),
            }
        }
    }

    /// R1: all have acknowledged. R2: or the rest is barred and its grants have run out. R3: and then everyone else is purged once more.
    async fn attempt(&mut self) -> Result<(), Stop> {
        self.begin();
        let first = self.round(1, &[].into()).await;
        if first.all_in_time() {
            return Ok(());
        }
        if Instant::now() >= self.deadline {
            return Err(Stop::Failed(first.failures(&BTreeMap::new())));
        }
        let mut unreached = first.missing();
        let mut why = first.reasons;
        loop {
            let binding = self.binding();
            self.bar(&unreached, &why).await?;
            if off(Rule::SecondRound) {
                return Ok(());
            }
            let second = self.round(2, &unreached).await;
            // R4: an acknowledgement of the second round frees a barred node.
            let back: Vec<String> = unreached.intersection(&second.acknowledged).cloned().collect();
            unreached.retain(|node| !second.acknowledged.contains(node));
            self.lift(&back);
            if !second.all_in_time() {
                return Err(Stop::Again(second.failures(&why)));
            }
            if self.blocked(&unreached, |grantor| second.confirms(grantor, &unreached)) {
                self.group.counters.add(Count::RemovesBarred);
                return Ok(());
            }
            // A grantor lost its bar, or newer memberships bind others: once more from the bars.
            if self.binding() == binding {
                return Err(Stop::Again(second.failures(&why)));
            }
            why.extend(second.reasons);
        }
    }
}
