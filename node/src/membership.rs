//! The rule by which a snapshot is adopted: only a newer and sound one; what was in force stays otherwise.
//!
//! [`mod@file`] keeps the newest on disk, so that a restarted process is back in the ring before anybody pushes.

use std::fmt;
use std::sync::Arc;

use groupcache_group::view::View;
use groupcache_proto::cluster::{self, SignedSnapshot};
use groupcache_proto::convert;
use groupcache_ring::{Snapshot, Version};
use groupcache_tls::keeper::Keeper;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::configuration::{self, Checked};
use crate::metrics::SnapshotMetrics;

pub mod file;
pub mod fixed;

/// Who this process is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The member's name: stable across restarts.
    pub name: Arc<str>,
    /// The pod's uid; empty outside Kubernetes.
    pub pod_uid: String,
    /// Tells this process from every other that had or will have its name; never 0.
    pub boot: u64,
}

impl Identity {
    /// A new process of that name.
    #[must_use]
    pub fn new(name: &str, pod_uid: &str) -> Self {
        let boot = rand::random::<u64>().max(1);
        Identity { name: Arc::from(name), pod_uid: pod_uid.to_owned(), boot }
    }
}

/// A snapshot in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// As it came, signature included: this is passed on.
    pub signed: SignedSnapshot,
    /// As this node sees it.
    pub view: Arc<View>,
    content: Arc<cluster::Snapshot>,
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force.
    Adopted,
    /// It was in force already.
    Unchanged,
    /// A newer one is in force.
    Older,
    /// It is not sound; every fault is named.
    Refused(Vec<String>),
}

impl Outcome {
    /// The outcome as a word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Outcome::Adopted => "adopted",
            Outcome::Unchanged => "unchanged",
            Outcome::Older => "older",
            Outcome::Refused(_) => "refused",
        }
    }
}

/// Most faults of one snapshot that are told.
const SHOWN_FAULTS: usize = 64;

/// Longest text of a fault that is told: texts repeat names, which may be anything.
const SHOWN_FAULT_CHARS: usize = 512;

/// Puts an adopted snapshot to work: groups, loaders and connections.
pub type Install = Box<dyn Fn(Checked, Arc<View>) + Send + Sync>;

/// The membership of one node.
pub struct Membership {
    me: Identity,
    group_bytes: u64,
    install: Install,
    metrics: SnapshotMetrics,
    /// Whose authorities must have signed what is adopted; `None`: nobody's.
    certificates: Option<Keeper>,
    /// Held over a whole adoption: two snapshots are adopted one after the other, in the order of their versions.
    adopting: Mutex<()>,
    in_force: watch::Sender<Option<Arc<InForce>>>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("me", &self.me).finish_non_exhaustive()
    }
}

impl Membership {
    /// Nothing in force yet. What is adopted is given to `install`, before it counts as in force.
    #[must_use]
    pub fn new(me: Identity, group_bytes: u64, metrics: SnapshotMetrics, install: Install) -> Self {
        let (in_force, _) = watch::channel(None);
        Membership {
            me,
            group_bytes,
            install,
            metrics,
            certificates: None,
            adopting: Mutex::default(),
            in_force,
        }
    }

    /// From now on only what an authority of these certificates has signed is adopted, whoever brings it: what a node passes on may be forged.
    #[must_use]
    pub fn signed_for(mut self, certificates: Option<Keeper>) -> Self {
        self.certificates = certificates;
        self
    }

    /// Who this process is.
    #[must_use]
    pub fn me(&self) -> &Identity {
        &self.me
    }

    /// The snapshot in force.
    #[must_use]
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        self.in_force.borrow().clone()
    }

    /// The version in force; provisional if there is none.
    #[must_use]
    pub fn version(&self) -> Version {
        self.in_force.borrow().as_ref().map(|f| f.view.version()).unwrap_or_default()
    }

    /// Follows what is in force.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<InForce>>> {
        self.in_force.subscribe()
    }

    /// Adopts a snapshot if it is newer and sound.
    pub fn offer(&self, signed: SignedSnapshot) -> Outcome {
        let outcome = {
            let _one_at_a_time = self.adopting.lock();
            let before = self.in_force();
            match self.judge(before.as_deref(), &signed) {
                Ok((content, membership, checked)) => {
                    let view = Arc::new(View::of_pod(
                        Arc::clone(&self.me.name),
                        &self.me.pod_uid,
                        Arc::new(membership),
                    ));
                    (self.install)(checked, Arc::clone(&view));
                    let now = InForce { signed, view, content: Arc::new(content) };
                    self.in_force.send_replace(Some(Arc::new(now)));
                    Outcome::Adopted
                }
                Err(Outcome::Refused(faults)) => Outcome::Refused(shown(faults)),
                Err(outcome) => outcome,
            }
        };
        self.tell(&outcome);
        outcome
    }

    /// The parts of a snapshot that is newer and sound, or what it is instead.
    fn judge(
        &self,
        before: Option<&InForce>,
        signed: &SignedSnapshot,
    ) -> Result<(cluster::Snapshot, Snapshot, Checked), Outcome> {
        let refused = |fault: String| Outcome::Refused(vec![fault]);
        // To the byte what was judged when it was adopted: told again for as long as nothing changes.
        if before.is_some_and(|before| before.signed == *signed) {
            return Err(Outcome::Unchanged);
        }
        if let Some(certificates) = &self.certificates {
            let verdict = certificates.current().verify(&signed.key_id, &signed.snapshot, &signed.signature);
            verdict.map_err(|fault| refused(fault.to_string()))?;
        }
        let content = convert::open(signed).map_err(|fault| refused(fault.to_string()))?;
        if let Some(before) = before {
            let ours = before.view.snapshot().cluster_uid();
            if content.cluster_uid != ours {
                let theirs = &content.cluster_uid;
                return Err(refused(format!(
                    "it is of the cluster {theirs:?}; this node belongs to {ours:?} until it is restarted with an empty snapshot folder"
                )));
            }
            let (version, in_force) = (convert::version(content.version.as_ref()), before.view.version());
            if version < in_force {
                return Err(Outcome::Older);
            }
            if version == in_force && content == *before.content {
                return Err(Outcome::Unchanged);
            }
            if version == in_force {
                return Err(refused(format!(
                    "version {version} is in force with another content: a change needs a higher version"
                )));
            }
        }
        let mut faults: Vec<String> = Vec::new();
        let membership = convert::membership(&content)
            .map_err(|found| faults.extend(found.iter().map(ToString::to_string)));
        let configuration = content.configuration.clone().unwrap_or_default();
        let checked = configuration::check(&configuration, self.group_bytes)
            .map_err(|found| faults.extend(found.iter().map(ToString::to_string)));
        match (membership, checked) {
            (Ok(membership), Ok(checked)) => Ok((content, membership, checked)),
            _ => Err(Outcome::Refused(faults)),
        }
    }

    fn tell(&self, outcome: &Outcome) {
        self.metrics.judged(outcome.as_str());
        match outcome {
            Outcome::Adopted => {
                let now = self.in_force();
                let members = now.as_ref().map_or(0, |f| f.view.snapshot().members().len());
                let state = now.and_then(|f| f.view.my_state()).map_or("not a member", |s| s.as_str());
                tracing::info!(version = %self.version(), members, state, "adopted a snapshot");
            }
            Outcome::Refused(faults) => {
                tracing::warn!(in_force = %self.version(), faults = faults.join("; "), "refused a snapshot");
            }
            Outcome::Unchanged | Outcome::Older => {}
        }
    }
}

/// Faults as they are told: a snapshot of nothing but faults must not fill the answer and the log.
fn shown(mut faults: Vec<String>) -> Vec<String> {
    let more = faults.len().saturating_sub(SHOWN_FAULTS);
    faults.truncate(SHOWN_FAULTS);
    for fault in &mut faults {
        if let Some((end, _)) = fault.char_indices().nth(SHOWN_FAULT_CHARS) {
            fault.truncate(end);
            fault.push('…');
        }
    }
    if more > 0 {
        faults.push(format!("and {more} more faults"));
    }
    faults
}

#[cfg(test)]
mod tests;
