//! What the operator keeps around the pods, and whether it acts on a cluster at all.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default of [`PodDisruptionBudget::max_unavailable`].
pub const DEFAULT_MAX_UNAVAILABLE: i32 = 1;
/// Default of [`PodMonitor::interval_seconds`].
pub const DEFAULT_INTERVAL_SECONDS: i32 = 30;

/// Whether the operator acts on a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ManagementState {
    /// It makes and repairs everything.
    #[default]
    Managed,
    /// It makes, repairs, scales and replaces nothing, and passes on no change of the spec. Nodes go on serving; the ring still follows the pods
    /// that there are, and certificates are renewed.
    Paused,
}

/// Whether the operator keeps an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Keep {
    /// The operator makes it, repairs it, and removes it when it is no longer wanted.
    Managed,
    /// There is none of the operator's.
    Disabled,
}

/// How many nodes may be taken away at once by whoever drains machines. There is no budget for fewer than two nodes: it could only block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodDisruptionBudget {
    /// Whether there is a budget.
    #[serde(default = "managed")]
    pub mode: Keep,

    /// Nodes that may be unavailable at once. Nodes that are broken already may always be evicted.
    #[serde(default = "default_max_unavailable")]
    #[schemars(range(min = 1, max = 255))]
    pub max_unavailable: i32,
}

// By hand, as the others of this file: a derived one would write zero into the definition, below its own minimum.
impl Default for PodDisruptionBudget {
    fn default() -> Self {
        PodDisruptionBudget { mode: Keep::Managed, max_unavailable: DEFAULT_MAX_UNAVAILABLE }
    }
}

/// Who may open connections to the nodes: everybody to the data and admin ports, to the cluster port only the cluster's own nodes and the
/// operator's namespace. It takes effect where the cluster's network enforces policies. What nodes call is not limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether there is a policy. To allow less than it does, choose `Disabled` and make your own: policies add up.
    #[serde(default = "managed")]
    pub mode: Keep,
}

impl Default for NetworkPolicy {
    fn default() -> Self {
        NetworkPolicy { mode: Keep::Managed }
    }
}

/// How the nodes' metrics are found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Monitoring {
    /// For the Prometheus operator.
    pub pod_monitor: PodMonitor,
}

/// A PodMonitor, which tells the Prometheus operator to read the nodes' metrics. Its kind must be installed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitor {
    /// Whether there is one.
    #[serde(default = "disabled")]
    pub mode: Keep,

    /// Labels by which your Prometheus chooses its PodMonitors.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, LabelValue>,

    /// Seconds between two readings.
    #[serde(default = "default_interval_seconds")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: i32,
}

impl Default for PodMonitor {
    fn default() -> Self {
        PodMonitor {
            mode: Keep::Disabled,
            labels: BTreeMap::new(),
            interval_seconds: DEFAULT_INTERVAL_SECONDS,
        }
    }
}

/// The value of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

fn managed() -> Keep {
    Keep::Managed
}

fn disabled() -> Keep {
    Keep::Disabled
}

fn default_max_unavailable() -> i32 {
    DEFAULT_MAX_UNAVAILABLE
}

fn default_interval_seconds() -> i32 {
    DEFAULT_INTERVAL_SECONDS
}
