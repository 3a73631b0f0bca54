//! What there is: live reads of everything a reconcile decides upon.
//!
//! Reads are live, not from a cache: a decision that takes members out of the ring is never made from an old picture.

use std::collections::HashSet;

use groupcache_crds::CacheCluster;
use groupcache_crds::status::CacheClusterStatus;
use groupcache_ring::Version;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use crate::endpoints::{Endpoint, endpoints};
use crate::ledger::store::{self, Page};
use crate::pods::{self, PodFacts};
use crate::{names, ownership};

/// What there is of one cluster.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The ledger.
    pub page: Page,
    /// The endpoints of the members Service.
    pub endpoints: Vec<Endpoint>,
    /// The pods.
    pub pods: Vec<PodFacts>,
    /// The uids of everything that may still run: pods with the cluster's labels, whoever made them, and pods of endpoints.
    pub alive: HashSet<String>,
}

/// Looks. `statefulset_uid` tells the cluster's pods from others that have their labels.
///
/// # Errors
/// If the API server does not answer.
pub async fn observe(
    client: &Client,
    cluster: &CacheCluster,
    statefulset_uid: Option<&str>,
    now: Timestamp,
) -> kube::Result<Observed> {
    let namespace = cluster.namespace().unwrap_or_default();
    let uid = cluster.uid().unwrap_or_default();
    let selector = names::list_selector(cluster);
    let of_members = format!("{selector},{}={}", names::SERVICE_LABEL, names::MEMBERS);
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let (slices_params, pods_params) =
        (ListParams::default().labels(&of_members), ListParams::default().labels(&selector));
    let (page, slices, pods) = tokio::try_join!(
        store::read(client, cluster),
        slices.list(&slices_params),
        pods.list(&pods_params),
    )?;
    let mut endpoints = endpoints(&slices.items);
    let alive = alive(&pods.items, &endpoints, &uid);
    let (own, strangers) = sorted(pods.items, &names::base(cluster), statefulset_uid);
    endpoints.retain(|endpoint| {
        ownership::is_pod_name(&endpoint.name, &names::base(cluster))
            && !strangers.contains(&endpoint.pod_uid)
    });
    let pods = own.iter().map(|pod| pods::facts(pod, &uid, now)).collect();
    Ok(Observed { page, endpoints, pods, alive })
}

/// Whoever may still act by a membership of this cluster, rather too many than too few.
///
/// A pod that was made for a deleted cluster refuses all of this one's, so none of them is in force there.
fn alive(pods: &[Pod], endpoints: &[Endpoint], cluster_uid: &str) -> HashSet<String> {
    let running = pods.iter().filter(|pod| !has_ended(pod)).filter_map(|pod| pod.metadata.uid.clone());
    let addressed = endpoints.iter().map(|endpoint| endpoint.pod_uid.clone());
    let mut alive: HashSet<String> = running.chain(addressed).collect();
    for stray in pods.iter().filter(|pod| pods::is_stray(pod, cluster_uid)).filter_map(ResourceExt::uid) {
        alive.remove(&stray);
    }
    alive
}

/// A pod that has ended for good holds no address and no keys; the StatefulSet makes another.
fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The cluster's pods, and the uids of those that only have their labels.
fn sorted(pods: Vec<Pod>, base: &str, statefulset_uid: Option<&str>) -> (Vec<Pod>, HashSet<String>) {
    let is_own = |pod: &Pod| ownership::is_pod_of(&pod.metadata, base, statefulset_uid);
    let (mut own, strangers): (Vec<Pod>, Vec<Pod>) = pods.into_iter().partition(is_own);
    own.retain(|pod| !has_ended(pod));
    (own, strangers.into_iter().filter_map(|pod| pod.metadata.uid).collect())
}

/// The version that a status names: a mirror of the ledger, for when the ledger is lost.
#[must_use]
pub fn version_in(status: Option<&CacheClusterStatus>) -> Version {
    let membership = status.and_then(|status| status.membership.as_ref());
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    membership.map_or(Version::PROVISIONAL, |m| Version::new(number(m.epoch), number(m.sequence)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_gone_only_when_it_has_ended_or_is_not_there_at_all() {
        let pod = |uid: &str, phase: &str| -> Pod {
            let pod = json!({"metadata": {"name": "c-0", "uid": uid}, "status": {"phase": phase}});
            serde_json::from_value(pod).expect("a pod")
        };
        let pods = [
            pod("runs", "Running"),
            pod("lost", "Unknown"),
            pod("ended", "Succeeded"),
            pod("evicted", "Failed"),
        ];
        let endpoint = Endpoint {
            name: "c-1".into(),
            pod_uid: "has an address".into(),
            address: "10.0.0.1:8081".into(),
            zone: String::new(),
            serving: false,
            terminating: true,
        };
        let mut stray = pod("of another cluster", "Running");
        stray.annotations_mut().insert(names::CLUSTER_UID.to_owned(), "before".to_owned());
        let pods = [&pods[..], &[stray]].concat();
        let mut uids: Vec<String> = alive(&pods, &[endpoint], "uid").into_iter().collect();
        uids.sort();
        assert_eq!(uids, ["has an address", "lost", "runs"]);
    }
}
