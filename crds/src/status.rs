//! What the operator says back about a `CacheCluster`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has made of the spec. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CacheClusterStatus {
    /// The `metadata.generation` that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Pods that exist.
    pub replicas: i32,

    /// Pods that are ready.
    pub ready_replicas: i32,

    /// Pods that run the current pod template.
    pub updated_replicas: i32,

    /// Selects the cluster's pods; read by autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,

    /// The image that the nodes are meant to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub image: Option<String>,

    /// Where applications call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,

    /// The membership in force, as the ledger holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,

    /// The groups in force, as the ledger holds them, and how they do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<GroupStatus>,

    /// Available, RingConverged, Progressing, Degraded, ConfigurationApplied, CertificatesReady, LoadersReachable and Paused.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Where applications call, each as `host:port`; the hosts resolve within the Kubernetes cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoints {
    /// Resolves to every node that is ready: for gRPC and for clients that balance over addresses.
    #[schemars(length(max = 512))]
    pub client: String,

    /// One address for all nodes: for clients that cannot balance.
    #[schemars(length(max = 512))]
    pub balanced: String,
}

/// One group in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupStatus {
    /// The group's name.
    #[schemars(length(max = 63))]
    pub name: String,

    /// The loader that its keys are loaded by.
    #[schemars(length(max = 63))]
    pub loader: String,

    /// Nodes that run the group as it is in force.
    pub applied: i32,

    /// Of these, the nodes that its loader answers.
    pub loader_answers: i32,

    /// Of these, the nodes for which its loader fails. Nodes that have not asked it yet are in neither number.
    pub loader_fails: i32,
}

/// The membership in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Membership {
    /// Raised by every operator that takes over.
    pub epoch: i64,

    /// Raised by every change of members or configuration.
    pub sequence: i64,

    /// The hash of the ring, the same on every node that has converged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub ring_hash: Option<String>,

    /// Members that own keys.
    pub active: i32,

    /// Members that wait to own keys.
    pub joining: i32,

    /// Members that are leaving.
    pub draining: i32,

    /// Members that have acknowledged this epoch and sequence.
    pub acknowledged: i32,

    /// The newest epoch and sequence that is settled, as `epoch.sequence`: nobody acts by an older one any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 41))]
    pub settled: Option<String>,

    /// Earlier memberships that still bind; 0 when the ring is at rest.
    pub priors: i32,
}
