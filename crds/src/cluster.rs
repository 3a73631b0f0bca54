//! A `CacheCluster`: how many nodes, of what size, with which groups and loaders.

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::group::Group;
use crate::invalidation::Invalidation;
use crate::loader::Loader;
use crate::metadata::OwnMetadata;
use crate::quantity::Quantity;
use crate::scheduling::Scheduling;
use crate::status::CacheClusterStatus;
use crate::tls::Tls;
use crate::upkeep::{ManagementState, Monitoring, NetworkPolicy, PodDisruptionBudget};

/// Default of [`CacheClusterSpec::replicas`].
pub const DEFAULT_REPLICAS: i32 = 3;
/// Longest name of a `CacheCluster`, so that the names made from it (`<name>-members-…`) fit where names are bounded by 63.
pub const MAX_NAME_LENGTH: usize = 40;
/// Default of [`CacheClusterSpec::drain_seconds`]: DNS and gRPC clients look again within 30 seconds.
pub const DEFAULT_DRAIN_SECONDS: i32 = 35;
/// Default of [`Memory::cache_percent`].
pub const DEFAULT_CACHE_PERCENT: i32 = 70;

/// What a user asks for.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "groupcache.dev",
    version = "v1alpha1",
    kind = "CacheCluster",
    namespaced,
    shortname = "cc",
    category = "groupcache",
    status = "CacheClusterStatus",
    derive = "PartialEq",
    doc = "A read-through cache: nodes that share keys out among themselves and load what is missing once.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(
        name = "Available",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Available\")].status",
        description = "Does it serve?"
    ),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas", description = "Nodes asked for"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas", description = "Nodes that are ready"),
    printcolumn(
        name = "Ring",
        type_ = "integer",
        json_path = ".status.membership.active",
        description = "Nodes that own keys"
    ),
    printcolumn(
        name = "Converged",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"RingConverged\")].status",
        description = "Do all nodes agree on who owns what?"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Time since it was made"),
    printcolumn(
        name = "Updated",
        type_ = "integer",
        json_path = ".status.updatedReplicas",
        description = "Nodes that run the current template",
        priority = 1
    ),
    printcolumn(
        name = "Epoch",
        type_ = "integer",
        json_path = ".status.membership.epoch",
        description = "Raised by every operator that takes over",
        priority = 1
    ),
    printcolumn(
        name = "Seq",
        type_ = "integer",
        json_path = ".status.membership.sequence",
        description = "Raised by every change of members or configuration",
        priority = 1
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.image",
        description = "What the nodes are meant to run",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Available\")].message",
        description = "Why it serves, or does not",
        priority = 1
    ),
    validation = Rule::new("self.metadata.name.size() <= 40")
        .message("metadata.name must be at most 40 characters: names of pods and Services are made from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must start with a letter and hold only lower case letters, digits and '-': names of Services are made from it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.groups.all(g, has(g.loaderName) ? self.loaders.exists(l, l.name == g.loaderName) : size(self.loaders) == 1)")
        .message("groups[].loaderName must name an entry of loaders; it may be left out only where there is exactly one loader")
        .field_path(".groups"),
    validation = Rule::new("self.groups.all(g, !has(g.aliases) || self.groups.all(h, !(h.name in g.aliases) && (g.name == h.name || !has(h.aliases) || !sets.intersects(g.aliases, h.aliases))))")
        .message("names and aliases of groups must be unique across all groups: a caller's name must mean one group")
        .field_path(".groups"),
    validation = Rule::new("size(self.groups) == 0 || (has(self.resources) && has(self.resources.limits) && 'memory' in self.resources.limits)")
        .message("resources.limits.memory must be set where there are groups: their budgets are shares of it")
        .field_path(".resources"),
    validation = Rule::new("!has(self.resources) || !has(self.resources.limits) || !('memory' in self.resources.limits) || !quantity('0').add(self.groups.map(g, quantity(string(g.maxBytes)).asInteger()).sum() * 100 / self.memory.cachePercent).isGreaterThan(quantity(string(self.resources.limits['memory'])))")
        .message("groups[].maxBytes together must not be greater than memory.cachePercent (70 unless set) of resources.limits.memory")
        .field_path(".groups"),
    validation = Rule::new("(self.tls.peer.mode == 'Disabled') == (oldSelf.tls.peer.mode == 'Disabled')")
        .message("tls.peer.mode must not be changed to or from Disabled: nodes that speak TLS and nodes that do not cannot form one ring; make the object anew")
        .field_path(".tls"),
    validation = Rule::new("!has(self.access) || self.access.tokens.all(t, !has(t.groups) || t.groups.all(name, self.groups.exists(g, g.name == name)))")
        .message("access.tokens[].groups must name entries of groups")
        .field_path(".access")
)]
pub struct CacheClusterSpec {
    /// How many nodes. `kubectl scale` and autoscalers write it. 0 stops all nodes.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 0, max = 256))]
    pub replicas: i32,

    /// The image of the nodes. Unset: the one that belongs to the operator; `status.image` says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When the image is pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<ImagePullPolicy>,

    /// Secrets of this namespace with the credentials of the image's registry. Changing it rolls the pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<SecretName>,

    /// What each node asks of its machine, and its bounds. `limits.memory` must be set where there are groups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,

    /// How the memory limit is shared out.
    #[serde(default)]
    pub memory: Memory,

    /// The key spaces. Changes apply to running nodes; no pod is restarted.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<Group>,

    /// The services that know the groups' values. Changes apply to running nodes; no pod is restarted.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub loaders: Vec<Loader>,

    /// How long invalidation may take, when nodes cannot be reached.
    #[serde(default)]
    pub invalidation: Invalidation,

    /// Who may speak on the cluster port, and whether the data port is encrypted.
    #[serde(default)]
    pub tls: Tls,

    /// Who may call the data port. Left out: whoever reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,

    /// Seconds for which a node that was told to stop goes on serving, so that clients learn of it. Changing it rolls the pods.
    #[serde(default = "default_drain_seconds")]
    #[schemars(range(min = 0, max = 600))]
    pub drain_seconds: i32,

    /// On which machines nodes run. Changing it rolls the pods.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// Labels and annotations of the pods. Changing them rolls the pods.
    #[serde(default)]
    pub pod_metadata: OwnMetadata,

    /// Labels and annotations of the Services that applications use, `<name>` and `<name>-lb`.
    #[serde(default)]
    pub service_metadata: OwnMetadata,

    /// How many nodes may be taken away at once.
    #[serde(default)]
    pub pod_disruption_budget: PodDisruptionBudget,

    /// Who may open connections to the nodes.
    #[serde(default)]
    pub network_policy: NetworkPolicy,

    /// How the nodes' metrics are found.
    #[serde(default)]
    pub monitoring: Monitoring,

    /// Whether the operator acts on this cluster.
    #[serde(default)]
    pub management_state: ManagementState,
}

/// A Secret of this namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ImagePullPolicy {
    /// At every start.
    Always,
    /// When the machine does not have it.
    IfNotPresent,
    /// It must be there already.
    Never,
}

impl ImagePullPolicy {
    /// The policy as Kubernetes writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ImagePullPolicy::Always => "Always",
            ImagePullPolicy::IfNotPresent => "IfNotPresent",
            ImagePullPolicy::Never => "Never",
        }
    }
}

/// What a node asks of its machine, by resource: `cpu`, `memory`, `ephemeral-storage`, …
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(r, !(r in self.limits) || !quantity(string(self.requests[r])).isGreaterThan(quantity(string(self.limits[r]))))")
        .message("requests must not be greater than limits of the same resource: Kubernetes takes no such pod")
        .field_path(".requests")
)]
pub struct Resources {
    /// What is set aside for each node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub requests: BTreeMap<String, Quantity>,

    /// What a node may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 8))]
    pub limits: BTreeMap<String, Quantity>,
}

/// How the memory limit is shared out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Percent of `resources.limits.memory` that the budgets of all groups together may take. The rest is for values under
    /// way, connections and the process itself. Changing it rolls the pods.
    #[schemars(range(min = 10, max = 85))]
    pub cache_percent: i32,
}

// By hand: a derived one would write zero into the definition, below its own minimum.
impl Default for Memory {
    fn default() -> Self {
        Memory { cache_percent: DEFAULT_CACHE_PERCENT }
    }
}

fn default_replicas() -> i32 {
    DEFAULT_REPLICAS
}

fn default_drain_seconds() -> i32 {
    DEFAULT_DRAIN_SECONDS
}
