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
    let (own, strangers) = sorted(pods.items, &names::base(cluster), statefulset_uid);
    let mut endpoints = endpoints(&slices.items);
    endpoints.retain(|endpoint| {
        ownership::is_pod_name(&endpoint.name, &names::base(cluster))
            && !strangers.contains(&endpoint.pod_uid)
    });
    Ok(Observed { page, endpoints, pods: own.iter().map(|pod| pods::facts(pod, &uid, now)).collect() })
}

/// The cluster's pods, and the uids of those that only have their labels.
fn sorted(pods: Vec<Pod>, base: &str, statefulset_uid: Option<&str>) -> (Vec<Pod>, HashSet<String>) {
    // A pod that has ended for good holds no address and no keys; the StatefulSet makes another.
    let ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let is_own = |pod: &Pod| ownership::is_pod_of(&pod.metadata, base, statefulset_uid);
    let (mut own, strangers): (Vec<Pod>, Vec<Pod>) = pods.into_iter().partition(is_own);
    own.retain(|pod| !ended(pod));
    (own, strangers.into_iter().filter_map(|pod| pod.metadata.uid).collect())
}

/// The version that a status names: a mirror of the ledger, for when the ledger is lost.
#[must_use]
pub fn version_in(status: Option<&CacheClusterStatus>) -> Version {
    let membership = status.and_then(|status| status.membership.as_ref());
    let number = |n: i64| u64::try_from(n).unwrap_or(0);
    membership.map_or(Version::PROVISIONAL, |m| Version::new(number(m.epoch), number(m.sequence)))
}
