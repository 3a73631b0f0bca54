//! Evicts the pod that a rollout has chosen; disruption budgets have their say.

use groupcache_crds::CacheCluster;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{EvictParams, Preconditions};
use kube::runtime::events::{Event, EventType};
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::events;
use crate::pods::PodFacts;
use crate::roll::Rollout;

/// Evicts the pod that is next in a rollout, if any.
///
/// # Errors
/// If the API server refuses it for good or does not answer.
pub async fn next(cluster: &CacheCluster, context: &Context, rollout: &Rollout<'_>) -> kube::Result<()> {
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
        Err(error) => Err(error),
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
