//! Remove: purges keys at every node, and succeeds only when no node can serve what it held before (R1 to R5).
//!
//! All members acknowledge within one window: one round trip. Otherwise the unreached are barred, their grants are waited out, and everyone else is
//! purged once more. `removal` is one Remove on its way, `round` one round of purges, `bars` what lies between the two.

use std::sync::Arc;

use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::group::Group;
use crate::group::remove::removal::{Removal, Stop};
use crate::peer::Purged;
use crate::stats::Count;
use crate::value::Key;
use crate::view::View;

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
        let result =
            self.coordinate(move |group, view| Removal::new(group, view, what, source_version, deadline));
        self.count(result.await.map(drop))
    }

    /// Purges every key from every node, as [`Group::remove`] does with some.
    ///
    /// # Errors
    /// See [`RemoveError`].
    pub async fn flush(self: &Arc<Self>, deadline: Instant) -> Result<(), RemoveError> {
        let result =
            self.coordinate(move |group, view| Removal::new(group, view, Purged::Group, None, deadline));
        self.count(result.await.map(drop))
    }

    fn count(&self, result: Result<(), RemoveError>) -> Result<(), RemoveError> {
        match &result {
            Ok(()) => self.counters.add(Count::Removes),
            Err(RemoveError::Partial(_)) => self.counters.add(Count::RemovesPartial),
            Err(RemoveError::NotReady) => {}
        }
        result
    }

    /// Runs a Remove in a task of its own, so that it ends as it should if the caller goes away. Answers the Remove as it was when it had succeeded.
    pub(super) async fn coordinate(
        self: &Arc<Self>,
        removal: impl FnOnce(Arc<Group>, Arc<View>) -> Removal,
    ) -> Result<Removal, RemoveError> {
        // The coordinator is a member: one that is not does not know who is.
        let view = self.view().filter(|view| view.my_state().is_some()).ok_or(RemoveError::NotReady)?;
        let mut removal = removal(self.clone(), view);
        let places = self.removes.clone();
        let task = tokio::spawn(async move {
            let Ok(Ok(_place)) = timeout_at(removal.deadline, places.acquire_owned()).await else {
                let reason = format!("{MOST_REMOVES} Removes are on their way here; try again later");
                return Err(vec![NodeFailure { node: removal.me().to_owned(), reason }]);
            };
            let result = removal.run().await;
            removal.lift_all();
            result.map(|()| removal)
        });
        let result = task.await.unwrap_or_else(|_| {
            let reason = "the Remove broke off inside this node; try again".to_owned();
            Err(vec![NodeFailure { node: self.me(), reason }])
        });
        result.map_err(RemoveError::Partial)
    }

    fn me(&self) -> String {
        self.view().map_or_else(|| "this node".to_owned(), |view| view.me().to_owned())
    }
}

impl Removal {
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
        self.check_time(&first)?;
        let mut unreached = first.missing();
        let mut why = first.reasons;
        loop {
            let binding = self.binding();
            self.bar(&unreached, &why).await?;
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
