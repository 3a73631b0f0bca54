//! The PodDisruptionBudget: how many nodes whoever drains machines may take away at once.

use groupcache_crds::CacheCluster;
use groupcache_crds::upkeep::Keep;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names;

/// The budget; none for fewer than two nodes, which it would only keep from ever being moved.
#[must_use]
pub fn budget(cluster: &CacheCluster) -> Option<PodDisruptionBudget> {
    let asked = &cluster.spec.pod_disruption_budget;
    (asked.mode == Keep::Managed && cluster.spec.replicas >= 2).then(|| PodDisruptionBudget {
        metadata: names::child(cluster, names::base(cluster)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(asked.max_unavailable)),
            selector: Some(LabelSelector {
                match_labels: Some(names::selector(cluster)),
                ..LabelSelector::default()
            }),
            // A node that is broken holds no keys, and a rollout or a drain must get past it.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}
