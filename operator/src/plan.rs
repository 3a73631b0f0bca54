//! What must exist for a cluster: a pure function of the object and its Secrets, one file per kind.

pub mod disruption;
mod marks;
pub mod monitor;
pub mod mounts;
pub mod network;
mod placement;
pub mod services;
pub mod statefulset;

use groupcache_crds::CacheCluster;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::Serialize;

use crate::plan::monitor::PodMonitor;
use crate::plan::mounts::Mounts;

/// What the operator was told at its start and every plan needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The image of nodes whose cluster names none.
    pub node_image: String,
    /// The namespace of this operator.
    pub namespace: String,
}

/// The children of a cluster. The ledger is not among them: it is written by compare-and-swap, not applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Children {
    /// For applications, for the operator, and with one address.
    pub services: Vec<Service>,
    /// The pods.
    pub statefulset: StatefulSet,
    /// For whoever drains machines.
    pub budget: Option<PodDisruptionBudget>,
    /// For the network.
    pub policy: Option<NetworkPolicy>,
    /// For the Prometheus operator.
    pub monitor: Option<PodMonitor>,
}

/// The image that the cluster's nodes are meant to run.
#[must_use]
pub fn image<'a>(cluster: &'a CacheCluster, defaults: &'a Defaults) -> &'a str {
    cluster.spec.image.as_deref().unwrap_or(&defaults.node_image)
}

/// The children of this cluster, whose pods mount these Secrets of the user's.
#[must_use]
pub fn children(cluster: &CacheCluster, defaults: &Defaults, mounts: &Mounts) -> Children {
    Children {
        services: vec![services::ready(cluster), services::members(cluster), services::balanced(cluster)],
        statefulset: statefulset::statefulset(cluster, image(cluster, defaults), mounts),
        budget: disruption::budget(cluster),
        policy: network::policy(cluster, &defaults.namespace),
        monitor: monitor::monitor(cluster),
    }
}

#[cfg(test)]
mod tests;
