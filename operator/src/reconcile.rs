//! The order of things for one cluster: observe, plan, apply, roster, ledger, push, roll, status.

use std::collections::HashMap;
use std::time::Duration;

use groupcache_crds::CacheCluster;
use groupcache_ring::{State, Version};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{EvictParams, Preconditions};
use kube::runtime::controller::Action;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client, ResourceExt};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::applied::{Applied, Children};
use crate::configuration::configuration;
use crate::ledger::settle::Settling;
use crate::ledger::{self, Held, Known, Refused, Wanted, store};
use crate::metrics::Metrics;
use crate::observe::{Observed, observe, version_in};
use crate::plan::{self, Defaults};
use crate::pods::PodFacts;
use crate::push::{Key, Published, Push, Target};
use crate::report::{self, Report};
use crate::roll::Rollout;
use crate::roster::{Holds, Roster, Sight, recovered, roster};
use crate::status::{Facts, status};
use crate::{apply, events};

/// A cluster is looked at this often though nothing happens: no watch promises every event.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// Pause before a second look after another writer was faster.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// What every reconcile needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What plans need.
    pub defaults: Defaults,
    /// The nodes.
    pub push: Push,
    /// Where events go.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: Metrics,
    /// Cancelled when this process may no longer write.
    pub deposed: CancellationToken,
    /// The children as the watches see them.
    pub children: Children,
    /// What is remembered between two looks.
    pub memory: Mutex<HashMap<Key, Memory>>,
}

/// What is remembered of one cluster between two looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    cluster_uid: String,
    applied: Applied,
    written: Option<Version>,
    holds: Holds,
    settling: Settling,
}

/// Why a reconcile did not end.
#[derive(Debug, Error)]
pub enum Error {
    /// The API server refused or did not answer.
    #[error("the API server: {0}")]
    Api(#[from] kube::Error),
    /// Another operator has taken over, or the membership is faulty.
    #[error(transparent)]
    Ledger(#[from] Refused),
    /// This process may no longer write.
    #[error("this operator no longer leads")]
    Deposed,
}

impl Error {
    /// True if another writer was faster; nothing is wrong then.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Error::Api(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists())
    }
}

/// Brings one cluster a step nearer to its spec.
///
/// # Errors
/// See [`Error`]; the caller tries again.
pub async fn reconcile(cluster: &CacheCluster, context: &Context) -> Result<Action, Error> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // The children go with their owner; there is nothing to undo.
        return Ok(Action::await_change());
    }
    if context.deposed.is_cancelled() {
        return Err(Error::Deposed);
    }
    let key = ObjectRef::from_obj(cluster);
    let now = Timestamp::now();

    let mut memory = context.recall(&key, cluster);
    let statefulset = apply_children(cluster, context, &mut memory).await?;
    let observed = observe(&context.client, cluster, now).await?;
    let reports = context.push.reports(&key).all();
    let wanted = configuration(&cluster.spec);

    let (roster, held, settles_in) =
        advance(cluster, context, &observed, &reports, wanted.as_ref().ok(), &mut memory).await?;
    context.push.publish(&key, published(&held), targets(&observed));

    let rollout = Rollout {
        pods: &observed.pods,
        update_revision: update_revision(&statefulset),
        replicas: usize::try_from(cluster.spec.replicas).unwrap_or(0),
        at_rest: at_rest(&held, &reports),
    };
    let facts = Facts {
        cluster,
        image: plan::image(cluster, &context.defaults),
        statefulset: &statefulset,
        pods: &observed.pods,
        outdated: rollout.outdated().count(),
        endpoints: &observed.endpoints,
        held: &held,
        reports: &reports,
        guarded: &roster.guarded,
        faults: wanted.as_ref().err().map(Vec::as_slice).unwrap_or_default(),
        now,
    };
    context.metrics.in_force(&key, held.version(), facts.unconverged(), roster.guarded.len());
    let told = status(&facts);
    if apply::status(&context.client, cluster, &told).await? {
        events::tell_turns(&context.recorder, cluster, &told.conditions).await;
    }
    roll(cluster, context, &rollout).await?;

    let look_again = [roster.look_again_in, settles_in].into_iter().flatten().min();
    Ok(Action::requeue(look_again.unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN)))
}

/// Makes the children what they should be, if they are not.
async fn apply_children(
    cluster: &CacheCluster,
    context: &Context,
    memory: &mut Memory,
) -> Result<StatefulSet, Error> {
    let wanted = plan::children(cluster, &context.defaults);
    if let Some(statefulset) = memory.applied.still(&wanted, &context.children) {
        return Ok(statefulset);
    }
    let (services, statefulset) = apply::children(&context.client, cluster, &wanted).await?;
    memory.applied = Applied::new(&wanted, &services, &statefulset);
    context.remember(&ObjectRef::from_obj(cluster), memory.clone());
    Ok(statefulset)
}

/// From what is seen to what is in force: the roster, and the ledger written if that changes anything.
async fn advance(
    cluster: &CacheCluster,
    context: &Context,
    observed: &Observed,
    reports: &HashMap<String, Report>,
    configuration: Option<&groupcache_proto::cluster::Configuration>,
    memory: &mut Memory,
) -> Result<(Roster, Held, Option<Duration>), Error> {
    let now = Instant::now();
    let uid = cluster.uid().unwrap_or_default();
    let held = observed.page.held.as_ref().filter(|held| held.snapshot.cluster_uid() == uid);
    let known = Known {
        status: version_in(cluster.status.as_ref()),
        reported: report::highest(reports),
        written: memory.written,
    };
    let has_a_past = known.highest() > Version::PROVISIONAL;
    let before = match held {
        Some(held) => held.snapshot.members().to_vec(),
        None if has_a_past => recovered(&observed.endpoints, reports),
        None => Vec::new(),
    };
    let sight = Sight {
        now,
        before: &before,
        version: held.map(Held::version).unwrap_or_default(),
        endpoints: &observed.endpoints,
        reports,
        replicas: usize::try_from(cluster.spec.replicas).unwrap_or(0),
    };
    let roster = roster(&sight, &mut memory.holds);
    let (settled, mut settles_in) = match held {
        Some(held) => memory.settling.look(now, &held.snapshot, reports),
        None => (Version::PROVISIONAL, None),
    };
    let wanted = Wanted {
        cluster_uid: uid,
        members: roster.members.clone(),
        configuration: configuration.cloned(),
        settled,
    };
    let next = match ledger::next(held, wanted, known) {
        Err(refused @ Refused::Deposed { .. }) => {
            context.deposed.cancel();
            return Err(refused.into());
        }
        next => next?,
    };
    let in_force = match (next, held) {
        (Some(next), _) => {
            if context.deposed.is_cancelled() {
                return Err(Error::Deposed);
            }
            store::write(&context.client, cluster, &observed.page, &next).await?;
            memory.written = Some(next.version());
            settles_in = None;
            let (version, members) = (next.version(), next.snapshot.members().len());
            tracing::info!(cluster = %cluster.name_any(), %version, members, "the ledger moved on");
            next
        }
        (None, Some(held)) => held.clone(),
        // Without a ledger there is always something to write.
        (None, None) => return Err(Refused::Faulty("nothing is in force".to_owned()).into()),
    };
    context.remember(&ObjectRef::from_obj(cluster), memory.clone());
    Ok((roster, in_force, settles_in))
}

/// Evicts the pod that is next in a rollout, if any.
async fn roll(cluster: &CacheCluster, context: &Context, rollout: &Rollout<'_>) -> Result<(), Error> {
    let Some(pod) = rollout.next() else { return Ok(()) };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &cluster.namespace().unwrap_or_default());
    let mut params = EvictParams::default();
    // Another pod of that name must not be hit.
    params.delete_options.get_or_insert_default().preconditions =
        Some(Preconditions { uid: Some(pod.uid.clone()), resource_version: None });
    match pods.evict(&pod.name, &params).await {
        Ok(_) => {
            context.metrics.evicted();
            let note = format!("{} runs the pod template before and is replaced", pod.name);
            tracing::info!(cluster = %cluster.name_any(), pod = %pod.name, "evicted for the rollout");
            let evicted = Event {
                type_: EventType::Normal,
                reason: "PodEvicted".to_owned(),
                note: Some(note),
                action: "RollOut".to_owned(),
                secondary: Some(reference(cluster, pod)),
            };
            events::tell(&context.recorder, cluster, &evicted).await;
            Ok(())
        }
        // A disruption budget says not now (429), or the pod is gone already: the next look sees what is left to do.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 429) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn reference(cluster: &CacheCluster, pod: &PodFacts) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: cluster.namespace(),
        name: Some(pod.name.clone()),
        uid: Some(pod.uid.clone()),
        ..ObjectReference::default()
    }
}

fn at_rest(held: &Held, reports: &HashMap<String, Report>) -> bool {
    let snapshot = &held.snapshot;
    let everyone = snapshot.members().iter().all(|member| {
        let has = reports.get(&member.pod_uid).is_some_and(|report| report.has(held.version()));
        has && member.state == State::Active
    });
    everyone && snapshot.settled() >= held.membership_since
}

fn update_revision(statefulset: &StatefulSet) -> Option<&str> {
    let status = statefulset.status.as_ref()?;
    let seen = status.observed_generation == statefulset.metadata.generation;
    status.update_revision.as_deref().filter(|_| seen)
}

fn published(held: &Held) -> Published {
    Published { version: held.version(), snapshot: held.to_wire() }
}

/// Everyone with an address is told, those who leave too: they hand over to whom the snapshot names.
fn targets(observed: &Observed) -> Vec<Target> {
    let target = |endpoint: &crate::endpoints::Endpoint| Target {
        name: endpoint.name.clone(),
        pod_uid: endpoint.pod_uid.clone(),
        address: endpoint.address.clone(),
    };
    observed.endpoints.iter().map(target).collect()
}

impl Context {
    fn recall(&self, key: &Key, cluster: &CacheCluster) -> Memory {
        let uid = cluster.uid().unwrap_or_default();
        let memory = self.memory.lock().get(key).cloned().unwrap_or_default();
        // A cluster made anew under an old name has no past.
        if memory.cluster_uid == uid { memory } else { Memory { cluster_uid: uid, ..Memory::default() } }
    }

    fn remember(&self, key: &Key, memory: Memory) {
        self.memory.lock().insert(key.clone(), memory);
    }

    /// The cluster is gone: so are its tasks, its series and what was remembered.
    pub fn forget(&self, key: &Key) {
        self.push.forget(key);
        self.metrics.forget(key);
        self.memory.lock().remove(key);
    }

    /// How long to wait after an error.
    #[must_use]
    pub fn pause_after(&self, error: &Error, failures: u32) -> Duration {
        if error.is_conflict() {
            return AFTER_CONFLICT;
        }
        let pause = Duration::from_millis(500) * 2_u32.pow(failures.min(7));
        pause.mul_f64(rand::random_range(0.75..=1.25))
    }
}
