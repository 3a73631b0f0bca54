//! Who may write: one Lease, held by one process at a time.
//!
//! The algorithm is client-go's. Whether a lease has run out is judged by this process's own clock since the record was last
//! seen to change, never by comparing another machine's time with ours; and every write carries the resourceVersion that was
//! read, so that of two who try one fails. A holder that could not renew in time stops acting before anyone else may start.
//! The ledger's epoch fences what this cannot: a process that was frozen and does not know it yet.

use std::time::Duration;

use groupcache_process::readiness::Condition;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

/// How long a record that does not change still binds the others.
const DURATION: Duration = Duration::from_secs(15);
/// When a holder that could not renew gives up; below [`DURATION`], so that it has stopped before another may start.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two tries.
const RETRY: Duration = Duration::from_secs(2);
/// One request may take no longer, so that a try that hangs does not eat the deadline.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// One process's view of the Lease.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    /// The record as it was last seen to change, and when that was by our clock.
    seen: Option<(Lease, Instant)>,
    /// Holds while the Lease can be read.
    readable: Option<Condition>,
}

/// Asks whose the Lease is, beside the one who renews it.
#[derive(Clone, Debug)]
pub struct Claim {
    api: Api<Lease>,
    name: String,
    identity: String,
}

impl Claim {
    /// True if the Lease names this process now. No answer counts as no.
    pub async fn stands(&self) -> bool {
        let read = tokio::time::timeout(REQUEST_TIMEOUT, self.api.get_opt(&self.name)).await;
        matches!(read, Ok(Ok(Some(lease))) if holder(&lease) == self.identity)
    }
}

/// What one try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Try {
    /// This process holds it.
    Held,
    /// Another does.
    HeldBy(String),
}

impl Elector {
    /// A candidate. `identity` must be unique among candidates.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: String, identity: String) -> Self {
        Elector { api: Api::namespaced(client, namespace), name, identity, seen: None, readable: None }
    }

    /// Tends this condition from now on: a candidate that cannot read the Lease will never lead, and must not look well.
    #[must_use]
    pub fn tending(mut self, readable: Condition) -> Self {
        self.readable = Some(readable);
        self
    }

    /// What answers later whether this process still holds it.
    #[must_use]
    pub fn claim(&self) -> Claim {
        Claim { api: self.api.clone(), name: self.name.clone(), identity: self.identity.clone() }
    }

    /// Waits until this process holds the Lease. May be dropped at any time.
    pub async fn acquire(&mut self) {
        let mut told = String::new();
        let mut answered = Instant::now();
        loop {
            let tried = self.attempt().await;
            if let Some(readable) = &self.readable {
                match &tried {
                    Ok(_) => {
                        answered = Instant::now();
                        readable.met();
                    }
                    // One error says little; it also passes while an API server restarts.
                    Err(error) if answered.elapsed() >= DURATION => readable.unmet(error.to_string()),
                    Err(_) => {}
                }
            }
            match tried {
                Ok(Try::Held) => return,
                Ok(Try::HeldBy(holder)) => {
                    if holder != told {
                        tracing::info!(lease = %self.name, %holder, "waiting: another operator leads");
                        told = holder;
                    }
                }
                Err(error) => tracing::warn!(lease = %self.name, %error, "the lease could not be taken"),
            }
            tokio::time::sleep(RETRY.mul_f64(rand::random_range(1.0..=1.2))).await;
        }
    }

    /// Renews until that fails for too long or another holds it. Returning means: stop acting at once.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_DEADLINE.saturating_sub(renewed.elapsed());
            let started = Instant::now();
            match tokio::time::timeout(left, self.attempt()).await {
                Ok(Ok(Try::Held)) => renewed = started,
                Ok(Ok(Try::HeldBy(holder))) => {
                    tracing::error!(lease = %self.name, %holder, "the lease was lost to another operator");
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = %self.name, %error, "the lease could not be renewed");
                }
                Err(_) => {}
            }
            if renewed.elapsed() >= RENEW_DEADLINE {
                tracing::error!(lease = %self.name, "the lease could not be renewed in time");
                return;
            }
        }
    }

    /// Gives the Lease up, so that another need not wait for it to run out.
    pub async fn release(&mut self) {
        let Some((lease, _)) = self.seen.take() else { return };
        if holder(&lease) != self.identity {
            return;
        }
        let mut lease = lease;
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = PostParams::default();
        let released = self.api.replace(&self.name, &params, &lease);
        match tokio::time::timeout(REQUEST_TIMEOUT, released).await {
            Ok(Ok(_)) => tracing::info!(lease = %self.name, "the lease is released"),
            Ok(Err(error)) => tracing::warn!(lease = %self.name, %error, "the lease could not be released"),
            Err(_) => tracing::warn!(lease = %self.name, "the lease could not be released in time"),
        }
    }

    async fn attempt(&mut self) -> kube::Result<Try> {
        let Some(lease) = self.within(self.api.get_opt(&self.name)).await? else {
            let record = self.record(None, 0);
            let made = self.within(self.api.create(&PostParams::default(), &record)).await?;
            self.seen = Some((made, Instant::now()));
            return Ok(Try::Held);
        };
        self.look(lease.clone());
        let mine = holder(&lease) == self.identity;
        if !mine && !holder(&lease).is_empty() && !self.has_run_out() {
            return Ok(Try::HeldBy(holder(&lease).to_owned()));
        }
        let turns = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let record = self.record(Some(&lease), if mine { turns } else { turns.saturating_add(1) });
        let replaced = self.within(self.api.replace(&self.name, &PostParams::default(), &record)).await?;
        self.seen = Some((replaced, Instant::now()));
        Ok(Try::Held)
    }

    /// Notes a record, and the time if it is another than before.
    fn look(&mut self, lease: Lease) {
        let same =
            self.seen.as_ref().is_some_and(|(seen, _)| seen.resource_version() == lease.resource_version());
        if !same {
            self.seen = Some((lease, Instant::now()));
        }
    }

    fn has_run_out(&self) -> bool {
        self.seen.as_ref().is_none_or(|(lease, since)| since.elapsed() >= binds_for(lease))
    }

    fn record(&self, over: Option<&Lease>, transitions: i32) -> Lease {
        let now = MicroTime(Timestamp::now());
        let held = over.filter(|lease| holder(lease) == self.identity).and_then(|lease| lease.spec.as_ref());
        let acquired = held.and_then(|spec| spec.acquire_time.clone()).unwrap_or_else(|| now.clone());
        let metadata = over
            .map(|lease| lease.metadata.clone())
            .unwrap_or_else(|| ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() });
        Lease {
            metadata,
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: Some(acquired),
                renew_time: Some(now),
                lease_transitions: Some(transitions),
                ..LeaseSpec::default()
            }),
        }
    }

    async fn within<T>(&self, request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
        let late = || kube::Error::Service("the API server did not answer in time".into());
        tokio::time::timeout(REQUEST_TIMEOUT, request).await.unwrap_or_else(|_| Err(late()))
    }
}

/// Who holds it; empty: nobody.
pub(crate) fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or("")
}

/// How long the record binds the others, as its holder wrote it.
fn binds_for(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(DURATION, Duration::from_secs)
}

#[cfg(test)]
mod tests;
