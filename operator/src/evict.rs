//! Evicts the pod that a rollout has chosen; disruption budgets have their say.

use groupcache_crds::CacheCluster;
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::api::{EvictParams, Preconditions};
use kube::runtime::events::{Event, EventType};
use kube::{Api, ResourceExt};

use crate::context::Context;
use crate::events;
use crate::pods::{self, PodFacts};
use crate::roll::Rollout;

/// Evicts the pod that is next in a rollout, if any; answers why it may not go now, in words.
///
/// # Errors
/// If the API server does not answer.
pub async fn next(
    cluster: &CacheCluster,
    context: &Context,
    rollout: &Rollout<'_>,
) -> kube::Result<Option<String>> {
    let Some(pod) = rollout.next() else { return Ok(None) };
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
            Ok(None)
        }
        Err(kube::Error::Api(status)) => Ok(refused(&pod.name, status.code, &status.message)),
        Err(error) => Err(error),
    }
}

/// Why the pod stays; `None`: it is gone already, and the next look sees what is left to do.
fn refused(pod: &str, code: u16, message: &str) -> Option<String> {
    match code {
        404 | 409 => None,
        429 => Some(format!("{pod} may not be evicted now, look at your PodDisruptionBudgets: {message}")),
        // Two budgets for one pod are a 500 of the API server's.
        _ => Some(format!("{pod} cannot be evicted: {message}")),
    }
    .map(|text| pods::clipped(&text))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_that_keeps_a_pod_is_told_and_a_pod_that_is_gone_is_not() {
        let budget = refused("c-1", 429, "Cannot evict pod as it would violate the pod's disruption budget.");
        assert!(budget.is_some_and(|why| why.starts_with("c-1 may not be evicted now, look at your PodDis")));
        let two = refused("c-1", 500, "This pod has more than one PodDisruptionBudget");
        assert_eq!(
            two.as_deref(),
            Some("c-1 cannot be evicted: This pod has more than one PodDisruptionBudget")
        );
        assert_eq!((refused("c-1", 404, ""), refused("c-1", 409, "")), (None, None));
    }
}
