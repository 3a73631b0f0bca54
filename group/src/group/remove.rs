//! Remove: purges keys at every node, this one first, and says which nodes did not acknowledge.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::join_all;
use groupcache_ring::{Member, Version};
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use crate::expiry::after;
use crate::group::Group;
use crate::peer::{PeerError, PurgeRequest};
use crate::stats::Count;
use crate::value::Key;
use crate::view::View;

/// Removes coordinated at a time; who comes next waits for a place until its deadline.
pub(super) const MOST_REMOVES: usize = 1024;

/// Why a Remove failed. What it purged stays purged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RemoveError {
    /// The node knows no membership yet.
    #[error("this node has not been told its membership yet; try another node")]
    NotReady,
    /// Some nodes did not acknowledge; each is named with the reason.
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

/// One Remove on its way.
struct Removal {
    group: Arc<Group>,
    keys: Arc<[Key]>,
    /// When the first window may close: later acknowledgements do not count.
    until: Instant,
    /// The nodes that were told.
    told: BTreeSet<String>,
    failures: Vec<NodeFailure>,
    /// The newest version a node acknowledged with, and that node.
    newest: Option<(Version, String)>,
}

impl Group {
    /// Purges keys from every node and answers by `deadline`.
    ///
    /// It runs on if the caller goes away, and is never merged with another Remove: the source may have changed between the two.
    ///
    /// # Errors
    /// See [`RemoveError`]: it names every node that did not acknowledge.
    pub async fn remove(self: &Arc<Self>, keys: Vec<Key>, deadline: Instant) -> Result<(), RemoveError> {
        let Ok(Ok(place)) = timeout_at(deadline, self.removes.clone().acquire_owned()).await else {
            let reason = format!("{MOST_REMOVES} Removes are on their way here; try again later");
            return Err(RemoveError::Partial(vec![NodeFailure { node: self.me(), reason }]));
        };
        let group = self.clone();
        let task = tokio::spawn(async move {
            let result = group.remove_everywhere(keys, deadline).await;
            match result {
                Ok(()) => group.counters.add(Count::Removes),
                Err(RemoveError::Partial(_)) => group.counters.add(Count::RemovesPartial),
                Err(RemoveError::NotReady) => {}
            }
            drop(place);
            result
        });
        task.await.unwrap_or_else(|_| {
            let reason = "the Remove broke off inside this node; try again".to_owned();
            Err(RemoveError::Partial(vec![NodeFailure { node: self.me(), reason }]))
        })
    }

    /// Round 1 of the protocol (R1): all members, at once, within one window.
    async fn remove_everywhere(
        self: &Arc<Self>,
        keys: Vec<Key>,
        deadline: Instant,
    ) -> Result<(), RemoveError> {
        // The coordinator is a member: one that is not does not know who is.
        let view = self.view().filter(|view| view.my_state().is_some()).ok_or(RemoveError::NotReady)?;
        let window = self.settings().purge_timeout;
        let mut removal = Removal {
            group: self.clone(),
            keys: keys.into(),
            until: deadline.min(after(Instant::now(), window)),
            told: BTreeSet::new(),
            failures: Vec::new(),
            newest: None,
        };
        self.purge(&removal.keys, window, None);
        removal.tell_members_of(view).await;
        if removal.failures.is_empty() { Ok(()) } else { Err(RemoveError::Partial(removal.failures)) }
    }

    fn me(&self) -> String {
        self.view().map_or_else(|| "this node".to_owned(), |view| view.me().to_owned())
    }
}

impl Removal {
    /// Tells every member, then those of any newer view that one of them, or this node, knows by then (R1).
    async fn tell_members_of(&mut self, mut view: Arc<View>) {
        let mut adopted = self.group.adopted.subscribe();
        loop {
            self.tell(&view).await;
            if let Some((version, node)) = self.newest.clone() {
                let caught_up = adopted.wait_for(|mine| *mine >= version);
                if !matches!(timeout_at(self.until, caught_up).await, Ok(Ok(_))) {
                    let mine = view.version();
                    let reason = format!("has membership {version} and this node only {mine}; try again");
                    self.failures.push(NodeFailure { node, reason });
                    return;
                }
            }
            match self.group.view() {
                Some(newer) if newer.version() > view.version() => view = newer,
                _ => return,
            }
        }
    }

    /// Tells the members of a view that were not told yet, all at once.
    async fn tell(&mut self, view: &View) {
        let untold: Vec<&Member> = view.others().filter(|member| !self.told.contains(&member.name)).collect();
        let request = PurgeRequest {
            group: self.group.name.clone(),
            keys: self.keys.clone(),
            window: self.group.settings().purge_timeout,
            version: view.version(),
            deadline: self.until,
        };
        let until = self.until;
        let acks = join_all(untold.iter().map(|member| {
            let purge = self.group.peers.purge(member, request.clone());
            async move {
                let ack = timeout_at(until, purge).await.unwrap_or(Err(PeerError::DeadlineExceeded));
                // A task that was kept from running finds the answer and the deadline at once, and is handed the answer. It came when the
                // first window had closed: what was fetched in between may have been kept (K2), so it is no acknowledgement.
                if Instant::now() <= until { ack } else { Err(PeerError::DeadlineExceeded) }
            }
        }))
        .await;
        for (member, ack) in untold.iter().zip(acks) {
            self.told.insert(member.name.clone());
            match ack {
                Ok(ack) if self.newest.as_ref().is_none_or(|(version, _)| ack.version > *version) => {
                    self.newest = Some((ack.version, member.name.clone()));
                }
                Ok(_) => {}
                Err(error) => {
                    let failure = NodeFailure { node: member.name.clone(), reason: error.to_string() };
                    self.failures.push(failure);
                }
            }
        }
    }
}
