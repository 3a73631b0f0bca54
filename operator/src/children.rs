//! A cluster's children in one step: Secrets looked for, orphans removed, and applied what is not as it should be.

use groupcache_crds::CacheCluster;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::reflector::ObjectRef;

use crate::applied::Applied;
use crate::context::{Context, Error, Memory};
use crate::mounted::{self, Looked};
use crate::pods::Problem;
use crate::put_off::Failed;
use crate::{apply, monitors, orphans, plan};

/// What there is of the children.
pub struct Made {
    /// The StatefulSet as it is now.
    pub statefulset: StatefulSet,
    /// Why others could not be made.
    pub unmade: Vec<Problem>,
    /// Secrets that are not there, or of no use.
    pub pending: Vec<String>,
}

/// Makes the children what they should be, if they are not; those of a paused cluster are left alone. The pods that are go on under the StatefulSet that is.
/// What fails is noted in `failed`.
///
/// # Errors
/// If the StatefulSet cannot be read: without it nothing can be said of the pods.
pub async fn tend(
    cluster: &CacheCluster,
    context: &Context,
    memory: &mut Memory,
    is_paused: bool,
    failed: &mut Failed,
) -> Result<Made, Error> {
    let (client, key) = (&context.client, ObjectRef::from_obj(cluster));
    let looked = if is_paused { None } else { failed.unless(mounted::look(client, cluster).await) };
    let Some(Looked { mounts, pending }) = looked else {
        let statefulset = apply::held_statefulset(client, cluster).await?.unwrap_or_default();
        let pending = if is_paused { Vec::new() } else { memory.pending.clone() };
        return Ok(Made { statefulset, unmade: Vec::new(), pending });
    };
    memory.pending.clone_from(&pending);
    let wanted = plan::children(cluster, &context.defaults, &mounts);
    failed.unless(orphans::remove(client, cluster, &wanted, &context.children).await);
    let monitor = monitors::tend(client, cluster, wanted.monitor.as_ref(), &mut memory.monitor).await;
    let mut unmade: Vec<Problem> = failed.unless(monitor).flatten().into_iter().collect();
    context.remember(&key, memory.clone());
    if let Some(statefulset) = memory.applied.still(&wanted, &context.children) {
        return Ok(Made { statefulset, unmade, pending });
    }
    let made = failed.unless(apply::children(client, cluster, &wanted).await).unwrap_or_default();
    if made.problems.is_empty() && made.statefulset.is_some() {
        memory.applied = Applied::new(&wanted, made.marks);
        context.remember(&key, memory.clone());
    }
    let statefulset = match made.statefulset {
        None => apply::held_statefulset(client, cluster).await?.unwrap_or_default(),
        Some(made) => made,
    };
    unmade.splice(0..0, made.problems);
    Ok(Made { statefulset, unmade, pending })
}
