//! One group: a key space with its loader, its budget and its freshness.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::{self, Quantity};

/// Default of [`Group::hot_cache_percent`]: an eighth, as the Go family keeps.
pub const DEFAULT_HOT_CACHE_PERCENT: i32 = 12;
/// Default of [`Group::max_key_bytes`].
pub const DEFAULT_MAX_KEY_BYTES: i32 = 1024;
/// Default of [`Group::max_value_bytes`].
pub const DEFAULT_MAX_VALUE_BYTES: &str = "1Mi";

/// A key space with its own loader, budget and freshness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(string(self.maxBytes)).isGreaterThan(quantity('0'))")
        .message("maxBytes must be greater than 0: a group with no memory keeps nothing")
        .field_path(".maxBytes"),
    validation = Rule::new("quantity(string(self.maxValueBytes)).isGreaterThan(quantity('0')) && !quantity(string(self.maxValueBytes)).isGreaterThan(quantity('8Mi'))")
        .message("maxValueBytes must be greater than 0 and at most 8Mi")
        .field_path(".maxValueBytes"),
    validation = Rule::new("!quantity(string(self.maxBytes)).isGreaterThan(quantity('0')) || !quantity(string(self.maxValueBytes)).isGreaterThan(quantity(string(self.maxBytes)))")
        .message("maxValueBytes must not be greater than maxBytes: such a value could never be kept (maxValueBytes is 1Mi unless set)")
        .field_path(".maxValueBytes"),
    validation = Rule::new("!has(self.negativeTtlSeconds) || !has(self.ttlSeconds) || self.negativeTtlSeconds <= self.ttlSeconds")
        .message("negativeTtlSeconds must not be greater than ttlSeconds: \"no such key\" must not outlive values")
        .field_path(".negativeTtlSeconds"),
    validation = Rule::new("!has(self.staleWhileRevalidateSeconds) || has(self.ttlSeconds)")
        .message("staleWhileRevalidateSeconds must have ttlSeconds beside it: what does not expire is never stale")
        .field_path(".staleWhileRevalidateSeconds"),
    validation = Rule::new("!has(self.staleIfErrorSeconds) || has(self.ttlSeconds)")
        .message("staleIfErrorSeconds must have ttlSeconds beside it: what does not expire is never stale")
        .field_path(".staleIfErrorSeconds"),
    validation = Rule::new("self.earlyRefreshPercent == 0 || has(self.ttlSeconds)")
        .message("earlyRefreshPercent must have ttlSeconds beside it: what does not expire is never refreshed")
        .field_path(".earlyRefreshPercent")
)]
pub struct Group {
    /// What callers call it: 1 to 63 of letters, digits, `.`, `_` and `-`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub name: String,

    /// Memory for this group on each node, main and hot cache together, for example `64Mi`. All groups together must fit into
    /// `memory.cachePercent` of `resources.limits.memory`.
    #[schemars(schema_with = "quantity::bytes_schema")]
    pub max_bytes: Quantity,

    /// Share of `maxBytes` for copies of keys that other nodes own; 0 turns the hot cache off.
    #[serde(default = "default_hot_cache_percent")]
    #[schemars(range(min = 0, max = 50))]
    pub hot_cache_percent: i32,

    /// Seconds for which a value may be used; the loader may say less per value. Unset: values do not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub ttl_seconds: Option<i32>,

    /// Seconds for which "no such key" is kept. Unset: it is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub negative_ttl_seconds: Option<i32>,

    /// Seconds for which an expired value is answered at once while its owner refreshes it. Unset: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub stale_while_revalidate_seconds: Option<i32>,

    /// Seconds for which an expired value is answered where the loader fails. Unset: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86_400))]
    pub stale_if_error_seconds: Option<i32>,

    /// The last percent of a value's time in which a use refreshes it in the background, so that keys in use never wait for the loader; about as many
    /// more loads. 0: no value is refreshed before it expires.
    #[serde(default)]
    #[schemars(range(min = 0, max = 50))]
    pub early_refresh_percent: i32,

    /// Seconds after a Remove, and after a node's start, for which what is loaded is answered but not kept: for sources that read from replicas
    /// which lag behind. Unset: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub source_lag_seconds: Option<i32>,

    /// What becomes of a load that nobody waits for any more.
    #[serde(default)]
    pub abandoned_loads: AbandonedLoads,

    /// Longest key, in bytes.
    #[serde(default = "default_max_key_bytes")]
    #[schemars(range(min = 1, max = 8192))]
    pub max_key_bytes: i32,

    /// Largest value that is kept; a larger one is answered but not kept. At most `8Mi`.
    #[serde(default = "default_max_value_bytes")]
    #[schemars(schema_with = "quantity::bytes_schema")]
    pub max_value_bytes: Quantity,

    /// Names the entry of `loaders` that knows this group's values. May be left out where there is exactly one loader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub loader_name: Option<String>,

    /// What a node does that is cut off from the others and so cannot know of Removes.
    #[serde(default)]
    pub on_quorum_loss: OnQuorumLoss,

    /// Other names under which the group can be asked for; any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub aliases: Vec<String>,
}

/// What a node does that is cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnQuorumLoss {
    /// It loads for every Get and keeps nothing, so that no Get answers what a Remove has removed.
    #[default]
    PassThrough,
    /// It goes on serving what it holds; a Get there may answer what a Remove has removed.
    ServeStale,
}

/// What becomes of a load that nobody waits for any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AbandonedLoads {
    /// It runs on and is kept: or a key slower than its callers would never be filled.
    #[default]
    Finish,
    /// It is dropped with its last caller.
    Cancel,
}

fn default_hot_cache_percent() -> i32 {
    DEFAULT_HOT_CACHE_PERCENT
}

fn default_max_key_bytes() -> i32 {
    DEFAULT_MAX_KEY_BYTES
}

fn default_max_value_bytes() -> Quantity {
    Quantity::from(DEFAULT_MAX_VALUE_BYTES)
}
