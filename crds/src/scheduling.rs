//! On which machines nodes run, and how far apart.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, TopologySpreadConstraint};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kubernetes;
use crate::upkeep::LabelValue;

/// Where nodes run. Changing it rolls the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.spread != 'Required' || !has(self.topologySpreadConstraints) || size(self.topologySpreadConstraints) == 0")
        .message("spread must not be Required where there are topologySpreadConstraints: they replace it")
        .field_path(".spread")
)]
pub struct Scheduling {
    /// How nodes are kept apart, over zones and over machines.
    #[serde(default)]
    pub spread: Spread,

    /// How nodes are kept apart, as in a pod: in place of what `spread` stands for. The `labelSelector` may be left out: it is the nodes of this cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "kubernetes::list_schema::<TopologySpreadConstraint>")]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,

    /// Which machines and which other pods the nodes are drawn to or kept away from, as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "kubernetes::schema::<Affinity>")]
    pub affinity: Option<Affinity>,

    /// Only machines with all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, LabelValue>,

    /// Taints that the nodes put up with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,

    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// How nodes are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Spread {
    /// Evenly where that is possible; a node that has no other place runs beside another.
    #[default]
    Preferred,
    /// Evenly or not at all: a node that would make it uneven by more than one waits.
    Required,
    /// As the scheduler likes.
    Disabled,
}

/// A taint that the nodes put up with, as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.operator) || self.operator != 'Exists' || !has(self.value)")
        .message("value must not be set where operator is Exists")
        .field_path(".value"),
    validation = Rule::new("has(self.key) || (has(self.operator) && self.operator == 'Exists')")
        .message("operator must be Exists where there is no key")
        .field_path(".operator"),
    validation = Rule::new("!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')")
        .message("effect must be NoExecute where tolerationSeconds is set")
        .field_path(".effect")
)]
pub struct Toleration {
    /// The taint's key. Unset: every taint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    pub key: Option<String>,

    /// How `value` is compared. Unset: `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<TolerationOperator>,

    /// The taint's value, for `Equal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub value: Option<String>,

    /// Which effect. Unset: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<TaintEffect>,

    /// Seconds for which it is put up with. Unset: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub toleration_seconds: Option<i64>,
}

/// How a toleration's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TolerationOperator {
    /// The taint has this key, whatever its value.
    Exists,
    /// The taint has this key and this value.
    Equal,
}

/// What a taint does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TaintEffect {
    /// No pod comes.
    NoSchedule,
    /// No pod comes while there is another machine.
    PreferNoSchedule,
    /// No pod comes, and those that are there go.
    NoExecute,
}
