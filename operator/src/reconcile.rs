//! The order of things for one cluster: observe, plan, apply, roster, ledger, push, roll, status.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use groupcache_crds::CacheCluster;
use groupcache_crds::status::CacheClusterStatus;
use groupcache_crds::upkeep::ManagementState;
use groupcache_ring::{State, Version};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::certificates::Shown;
use crate::children::Made;
use crate::configuration::configuration;
use crate::context::{Context, Error, Memory};
use crate::ledger::settle::{Settlement, Watch};
use crate::ledger::{self, Held, Known, Refused, Wanted, chain, store};
use crate::names::Key;
use crate::observe::{Observed, observe, version_in};
use crate::plan::mounts::Mounts;
use crate::pods::{NAME_TAKEN, Problem};
use crate::push::{Published, Target};
use crate::put_off::Failed;
use crate::report::{self, Report};
use crate::roll::Rollout;
use crate::roster::{Roster, Sight, recovered, roster};
use crate::status::{Facts, Pause};
use crate::{apply, certificates, children, events, evict, plan, refused_pods, status};

/// A cluster is looked at this often though nothing happens: no watch promises every event.
const LOOK_AGAIN: Duration = Duration::from_secs(300);
/// A cluster is looked at this often that uses Secrets of the user's: nobody tells the operator when they change.
const SECRETS_AGAIN: Duration = Duration::from_secs(30);
/// Pauses before what was refused is tried again, or a Secret looked for again: the first, doubled up to the last.
const REFUSED_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// Brings one cluster a step nearer to its spec.
///
/// # Errors
/// See [`Error`]; the caller tries again.
pub async fn reconcile(cluster: &CacheCluster, context: &Context) -> Result<Action, Error> {
    if let Some(end) = ends_at_once(cluster, context) {
        return end;
    }
    let key = ObjectRef::from_obj(cluster);
    let now = Timestamp::now();

    let mut memory = recalled(cluster, context, &key).await?;
    let is_paused = cluster.spec.management_state == ManagementState::Paused;
    // What the ring does not need may fail, and is told at the end.
    let mut failed = Failed::default();
    let Made { statefulset, mut unmade, pending } =
        children::tend(cluster, context, &mut memory, is_paused, &mut failed).await?;
    let observed = observe(&context.client, cluster, statefulset.metadata.uid.as_deref(), now).await?;
    if let Some(text) = &observed.page.stranger {
        unmade.push(Problem { reason: NAME_TAKEN, text: text.clone() });
        return without_ledger(cluster, context, &unmade, now).await;
    }
    unmade.extend(missing_pods(cluster, context, &statefulset, &observed, &mut memory, &mut failed).await);
    let reports = context.push.reports(&key).all();
    let nodes = certificates::nodes(&observed.endpoints, &reports);
    let tended = certificates::tend(&context.client, cluster, Some(&nodes), &mut memory.shown).await;
    let secured = memory.secured(failed.unless(tended));
    unmade.extend(failed.error().and_then(|error| context.persistent(&key, error)));
    let wanted = configuration(&cluster.spec);

    let passed_on = wanted.as_ref().ok().filter(|_| !is_paused);
    let InForce { held, roster, settlement } =
        advance(cluster, context, &observed, &reports, passed_on, &mut memory).await?;
    context.push.publish(&key, published(&held), targets(&observed, &secured, memory.shown.as_ref()));

    let rollout = rollout(cluster, &observed, &statefulset, at_rest(&held, &reports));
    let blocked =
        if is_paused { None } else { failed.unless(evict::next(cluster, context, &rollout).await).flatten() };
    let withholds = wanted.as_ref().is_ok_and(|wanted| *wanted != held.configuration);
    let facts = Facts {
        cluster,
        image: plan::image(cluster, &context.defaults),
        statefulset: &statefulset,
        pods: &observed.pods,
        outdated: rollout.outdated().count(),
        blocked: blocked.as_deref(),
        endpoints: &observed.endpoints,
        held: &held,
        settlement: &settlement,
        reports: &reports,
        guarded: &roster.guarded,
        unmade: &unmade,
        pending: &pending,
        certificates: &secured,
        pause: is_paused.then_some(Pause { withholds }),
        faults: wanted.as_ref().err().map(Vec::as_slice).unwrap_or_default(),
        now,
    };
    context.metrics.certificates(&key, &secured, memory.shown.as_ref().map(|s| s.signer().lifetime()));
    context.metrics.in_force(&key, &held.snapshot, facts.unconverged(), roster.guarded.len());
    tell(cluster, context, &status::status(&facts)).await?;

    failed.end()?;
    let waits = !unmade.is_empty() || !pending.is_empty() || !secured.is_steady() || blocked.is_some();
    let waited = memory.waits(waits);
    context.remember(&key, memory);
    Ok(look_again(cluster, waited, &roster, &settlement))
}

fn ends_at_once(cluster: &CacheCluster, context: &Context) -> Option<Result<Action, Error>> {
    if cluster.metadata.deletion_timestamp.is_some() {
        // The children go with their owner; there is nothing to undo.
        return Some(Ok(Action::await_change()));
    }
    context.deposed.is_cancelled().then_some(Err(Error::Deposed))
}

/// The ledger's name is somebody else's: nothing can be done until it is free.
async fn without_ledger(
    cluster: &CacheCluster,
    context: &Context,
    unmade: &[Problem],
    now: Timestamp,
) -> Result<Action, Error> {
    tell(cluster, context, &status::without_ledger(cluster, unmade, now)).await?;
    Ok(Action::requeue(REFUSED_AGAIN.0))
}

/// Why there are fewer pods than there should be.
async fn missing_pods(
    cluster: &CacheCluster,
    context: &Context,
    statefulset: &StatefulSet,
    observed: &Observed,
    memory: &mut Memory,
    failed: &mut Failed,
) -> Option<Problem> {
    let wanted = statefulset.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let missing = i32::try_from(observed.pods.len()).is_ok_and(|there| there < wanted);
    let since = &mut memory.missing_since;
    failed.unless(refused_pods::look(&context.client, cluster, statefulset, missing, since).await).flatten()
}

/// When the cluster is looked at again though nothing happens.
fn look_again(cluster: &CacheCluster, waited: u32, roster: &Roster, settlement: &Settlement) -> Action {
    let reads_secrets =
        cluster.spec.tls.peer.secret_name.is_some() || Mounts::asked(cluster) != Mounts::default();
    let longest = if reads_secrets { SECRETS_AGAIN } else { LOOK_AGAIN };
    // Nobody tells when a name becomes free, a Secret is made, a budget allows, or the API server changes its mind.
    let retry = waited.checked_sub(1).map(|more| {
        let pause = (REFUSED_AGAIN.0 * 2_u32.pow(more.min(8))).min(REFUSED_AGAIN.1);
        // Many clusters that wait for the same thing do not ask in step.
        pause.mul_f64(rand::random_range(0.8..=1.0))
    });
    let soonest = [roster.look_again_in, settlement.look_again_in(), retry].into_iter().flatten().min();
    Action::requeue(soonest.unwrap_or(longest).min(longest))
}

/// What is remembered of the cluster, with certificates: without them its pods do not start.
async fn recalled(cluster: &CacheCluster, context: &Context, key: &Key) -> Result<Memory, Error> {
    let mut memory = context.recall(key, cluster);
    if memory.shown.is_none() {
        memory.secured = Some(certificates::tend(&context.client, cluster, None, &mut memory.shown).await?);
        context.remember(key, memory.clone());
    }
    Ok(memory)
}

/// Writes the status if it is news, and the events that belong to it.
///
/// # Errors
/// If the API server refuses it or does not answer.
pub async fn tell(cluster: &CacheCluster, context: &Context, told: &CacheClusterStatus) -> Result<(), Error> {
    context.metrics.conditions(&ObjectRef::from_obj(cluster), &told.conditions);
    if apply::status(&context.client, cluster, told).await? {
        events::tell_turns(&context.recorder, cluster, &told.conditions).await;
    }
    Ok(())
}

/// What a look has come to.
struct InForce {
    held: Held,
    roster: Roster,
    settlement: Settlement,
}

/// From what is seen to what is in force: what has settled, the roster, and the ledger written if that changes anything.
async fn advance(
    cluster: &CacheCluster,
    context: &Context,
    observed: &Observed,
    reports: &HashMap<String, Report>,
    configuration: Option<&groupcache_proto::cluster::Configuration>,
    memory: &mut Memory,
) -> Result<InForce, Error> {
    let now = Instant::now();
    let uid = cluster.uid().unwrap_or_default();
    let trusted = memory.shown.as_ref().map(|shown| shown.keeper().current());
    let held = observed.page.vouched(trusted.as_deref());
    let held = held.filter(|held| held.snapshot.cluster_uid() == uid);
    let known = Known {
        status: version_in(cluster.status.as_ref()),
        reported: report::highest(reports),
        written: memory.written,
    };
    let settled =
        held.map(|held| memory.settling.look(&Watch { now, held, reports, alive: &observed.alive }).settled);
    let settled = settled.unwrap_or_default();
    let roster = members(cluster, observed, reports, (held, settled, known), memory);
    let wanted = Wanted {
        cluster_uid: uid,
        members: roster.members.clone(),
        configuration: configuration.cloned(),
        settled,
        signer: memory.shown.as_ref().map(|shown| shown.signer().fingerprint()),
    };
    let next = match ledger::next(held, wanted, known) {
        Err(refused @ Refused::Deposed { .. }) => {
            return Err(overtaken(cluster, context, memory, refused).await);
        }
        next => next?,
    };
    let held = match (next, held) {
        (Some(next), _) => {
            let next = sealed(next, memory.shown.as_ref())?;
            write(cluster, context, observed, &next).await?;
            memory.written = Some(next.version());
            next
        }
        (None, Some(held)) => held.clone(),
        // Without a ledger there is always something to write.
        (None, None) => return Err(Refused::Faulty("nothing is in force".to_owned()).into()),
    };
    let settlement = memory.settling.look(&Watch { now, held: &held, reports, alive: &observed.alive });
    tell_standstill(cluster, &held, &roster);
    context.remember(&ObjectRef::from_obj(cluster), memory.clone());
    Ok(InForce { held, roster, settlement })
}

/// With the word of the authority, where there is one.
fn sealed(next: Held, shown: Option<&Shown>) -> Result<Held, Refused> {
    let Some(shown) = shown else { return Ok(next) };
    next.sealed(shown.signer()).map_err(|fault| Refused::Unsigned(fault.to_string()))
}

/// Who is in the ring, from what there is and what has settled.
fn members(
    cluster: &CacheCluster,
    observed: &Observed,
    reports: &HashMap<String, Report>,
    (held, settled, known): (Option<&Held>, Version, Known),
    memory: &mut Memory,
) -> Roster {
    let has_a_past = known.highest() > Version::PROVISIONAL;
    let before = match held {
        Some(held) => held.snapshot.members().to_vec(),
        None if has_a_past => recovered(&observed.endpoints, reports),
        None => Vec::new(),
    };
    let joined = held.map_or_else(HashSet::new, |held| chain::joined(held, settled));
    let sight = Sight {
        now: Instant::now(),
        before: &before,
        version: held.map(Held::version).unwrap_or_default(),
        joined: &joined,
        endpoints: &observed.endpoints,
        reports,
        replicas: usize::try_from(cluster.spec.replicas).unwrap_or(0),
    };
    roster(&sight, &mut memory.holds)
}

async fn write(
    cluster: &CacheCluster,
    context: &Context,
    observed: &Observed,
    next: &Held,
) -> Result<(), Error> {
    if context.deposed.is_cancelled() {
        return Err(Error::Deposed);
    }
    store::write(&context.client, cluster, &observed.page, next).await?;
    let snapshot = &next.snapshot;
    let (members, earlier) = (snapshot.members().len(), snapshot.priors().len());
    let (version, settled) = (next.version(), snapshot.settled());
    tracing::info!(cluster = %cluster.name_any(), %version, %settled, members, earlier, "the ledger moved on");
    Ok(())
}

/// Says that members may not change now, if they would.
fn tell_standstill(cluster: &CacheCluster, held: &Held, roster: &Roster) {
    if held.is_crowded() && held.snapshot.members() != roster.members {
        tracing::warn!(
            cluster = %cluster.name_any(), namespace = ?cluster.namespace(), version = %held.version(),
            "too many memberships are not settled; the ring stands still until one is: see the condition RingConverged"
        );
    }
}

/// The ledger is above this process' epoch: by a successor, or by the hand of a user, which must not end the operator of all
/// clusters. Only who holds the Lease can be a successor.
async fn overtaken(
    cluster: &CacheCluster,
    context: &Context,
    memory: &mut Memory,
    refused: Refused,
) -> Error {
    if !context.claim.stands().await {
        context.deposed.cancel();
        return refused.into();
    }
    memory.written = None;
    context.remember(&ObjectRef::from_obj(cluster), memory.clone());
    Error::Overwritten
}

fn at_rest(held: &Held, reports: &HashMap<String, Report>) -> bool {
    let snapshot = &held.snapshot;
    let everyone = snapshot.members().iter().all(|member| {
        let has = reports.get(&member.pod_uid).is_some_and(|report| report.has(held.version()));
        has && member.state == State::Active
    });
    everyone && snapshot.settled() >= held.membership_since
}

fn rollout<'a>(
    cluster: &CacheCluster,
    observed: &'a Observed,
    statefulset: &'a StatefulSet,
    at_rest: bool,
) -> Rollout<'a> {
    let replicas = usize::try_from(cluster.spec.replicas).unwrap_or(0);
    Rollout { pods: &observed.pods, update_revision: update_revision(statefulset), replicas, at_rest }
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
///
/// Nobody is told anything over an open connection where there should be certificates.
fn targets(observed: &Observed, secured: &certificates::State, shown: Option<&Shown>) -> Vec<Target> {
    if *secured != certificates::State::Disabled && shown.is_none() {
        return Vec::new();
    }
    let target = |endpoint: &crate::endpoints::Endpoint| Target {
        name: endpoint.name.clone(),
        pod_uid: endpoint.pod_uid.clone(),
        address: endpoint.address.clone(),
        keeper: shown.map(|shown| shown.keeper().clone()),
    };
    observed.endpoints.iter().map(target).collect()
}
