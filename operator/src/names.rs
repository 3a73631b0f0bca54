//! Names and labels of everything that belongs to a cluster, made in one place.

use std::collections::BTreeMap;

use groupcache_crds::CacheCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

/// Which cluster.
pub type Key = ObjectRef<CacheCluster>;

/// Who writes the fields of children, for server-side apply.
pub const FIELD_MANAGER: &str = "groupcache-operator";
/// Who writes the status, for server-side apply.
pub const STATUS_MANAGER: &str = "groupcache-operator/status";

/// Label of everything that belongs to a cluster; its value is the cluster's name.
pub const CLUSTER_LABEL: &str = "groupcache.dev/cluster";
/// Label that tells a cluster's Services apart; slices of endpoints inherit it.
pub const SERVICE_LABEL: &str = "groupcache.dev/service";
/// Value of [`SERVICE_LABEL`] on the Service that the operator watches.
pub const MEMBERS: &str = "members";
/// Label of everything this operator made.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "groupcache-operator";
/// Set it to any new text to roll the pods.
pub const RESTARTED_AT: &str = "groupcache.dev/restartedAt";
/// Set it to any new text to replace the authority that issues the cluster port's certificates.
pub const ROTATE_CA: &str = "groupcache.dev/rotateCertificateAuthority";
/// Annotation of pods: the uid of the CacheCluster they were made for. A node never changes its cluster.
pub const CLUSTER_UID: &str = "groupcache.dev/cluster-uid";
/// Key of the ledger under which the serialized signed snapshot stands; nodes have it mounted as a file of this name.
pub const SNAPSHOT_KEY: &str = "snapshot";

/// Port for applications.
pub const DATA_PORT: i32 = 8080;
/// Port for peers and the operator.
pub const CLUSTER_PORT: i32 = 8081;
/// Port for probes and metrics.
pub const ADMIN_PORT: i32 = 9090;

/// The Service that applications point at, and the name of the StatefulSet.
#[must_use]
pub fn base(cluster: &CacheCluster) -> String {
    cluster.name_any()
}

/// The Service that governs the StatefulSet and that the operator watches.
#[must_use]
pub fn members(cluster: &CacheCluster) -> String {
    format!("{}-members", cluster.name_any())
}

/// The Service with one address, for clients that cannot balance.
#[must_use]
pub fn balanced(cluster: &CacheCluster) -> String {
    format!("{}-lb", cluster.name_any())
}

/// The ConfigMap that holds the membership in force.
#[must_use]
pub fn ledger(cluster: &CacheCluster) -> String {
    format!("{}-ledger", cluster.name_any())
}

/// The Secret with the authority of the cluster port's certificates. No pod mounts it.
#[must_use]
pub fn authority(cluster: &CacheCluster) -> String {
    format!("{}-peer-ca", cluster.name_any())
}

/// The Secret with what the nodes show and trust on the cluster port.
#[must_use]
pub fn certificates(cluster: &CacheCluster) -> String {
    format!("{}-peer-tls", cluster.name_any())
}

/// What selects a cluster's pods. Never changed: a StatefulSet's selector cannot be.
#[must_use]
pub fn selector(cluster: &CacheCluster) -> BTreeMap<String, String> {
    [("app.kubernetes.io/name", "groupcache".to_owned()), (CLUSTER_LABEL, cluster.name_any())]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
}

/// The labels of everything that belongs to a cluster.
#[must_use]
pub fn labels(cluster: &CacheCluster) -> BTreeMap<String, String> {
    let mut labels = selector(cluster);
    labels.insert("app.kubernetes.io/instance".to_owned(), cluster.name_any());
    labels.insert("app.kubernetes.io/component".to_owned(), "cache".to_owned());
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
    labels
}

/// What selects a cluster's objects in a list.
#[must_use]
pub fn list_selector(cluster: &CacheCluster) -> String {
    format!("{CLUSTER_LABEL}={},{MANAGED_BY_LABEL}={MANAGED_BY}", cluster.name_any())
}

/// The metadata of a child: name, labels, and the owner with which it goes.
#[must_use]
pub fn child(cluster: &CacheCluster, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: cluster.namespace(),
        labels: Some(labels(cluster)),
        owner_references: Some(owner(cluster).into_iter().collect()),
        ..ObjectMeta::default()
    }
}

fn owner(cluster: &CacheCluster) -> Option<OwnerReference> {
    // A deletion in the foreground need not wait for the children: nothing outside depends on them.
    cluster
        .controller_owner_ref(&())
        .map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner })
}
