//! One loader: a service that knows the values of groups.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default of [`Loader::timeout_milliseconds`].
pub const DEFAULT_TIMEOUT_MILLISECONDS: i32 = 1000;

/// A source of values, called by the owner of a key that is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.grpc) != has(self.http)")
        .message("exactly one of grpc and http must be set: a loader is one kind of service")
        .field_path(".grpc")
)]
pub struct Loader {
    /// How groups name it in `loaderName`: 1 to 63 of lower case letters, digits and `-`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// A service that speaks `groupcache.loader.v1.LoaderService`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcLoader>,

    /// A service that answers GET with the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpLoader>,

    /// Milliseconds for one load, all of its tries together.
    #[serde(default = "default_timeout_milliseconds")]
    #[schemars(range(min = 10, max = 60_000))]
    pub timeout_milliseconds: i32,

    /// What is done about a load that fails.
    #[serde(default)]
    pub retry: Retry,

    /// How many loads may run and wait, on each node and for each group.
    #[serde(default)]
    pub concurrency: Concurrency,

    /// When a loader that fails is not asked for a while, on each node and for each group.
    #[serde(default)]
    pub circuit_breaker: CircuitBreaker,
}

/// Where a gRPC loader is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!self.target.matches(':(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})$')")
        .message("target must end with a port of 1 to 65535")
        .field_path(".target"),
    validation = Rule::new("!has(self.authority) || !self.authority.matches(':(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4})$')")
        .message("authority must name a port of 1 to 65535, or none")
        .field_path(".authority")
)]
pub struct GrpcLoader {
    /// Host and port, for example `loader.default.svc:9000`, or `dns:///loader.default.svc:9000`.
    #[schemars(
        length(min = 3, max = 512),
        regex(pattern = r"^(dns:///)?[^\s/:]([^\s/]*[^\s/:])?:[0-9]{1,5}$")
    )]
    pub target: String,

    /// Whom calls name as the one they are for (`:authority`), for example `users.example`, where what is at `target` tells services apart by it.
    /// Unset: `target`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 259),
        regex(pattern = r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$")
    )]
    pub authority: Option<String>,
}

/// Where an HTTP loader is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.url.contains('{key}')")
        .message("url must contain {key}: it stands for the key that is loaded")
        .field_path(".url"),
    validation = Rule::new("!self.url.matches('^https?://[^/]*:(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[0-9]{6,})/')")
        .message("url must name a port of 1 to 65535, or none")
        .field_path(".url")
)]
pub struct HttpLoader {
    /// For example `http://users.default.svc/users/{key}`. `{key}` is the key, percent-encoded as one path segment; `{group}`,
    /// which may be left out, the group's name. 200: the body is the value; 404: no such key.
    #[schemars(length(min = 10, max = 2048), regex(pattern = r"^https?://[^\s/]+/\S*$"))]
    pub url: String,
}

/// Bounds on loads, on each node and for each group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Concurrency {
    /// Loads under way at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_in_flight_per_node: i32,

    /// Loads that wait for a place; one more is refused at once.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_queued: i32,

    /// Milliseconds a load waits for a place before it is refused.
    #[schemars(range(min = 1, max = 60_000))]
    pub queue_timeout_milliseconds: i32,
}

// By hand: a derived one would write zeros into the definition, below its own minimum.
impl Default for Concurrency {
    fn default() -> Self {
        Concurrency { max_in_flight_per_node: 64, max_queued: 256, queue_timeout_milliseconds: 250 }
    }
}

/// Further tries of a load that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// Tries of one load, the first included. Another is made only if the loader was not reached or was unavailable, while the time of
    /// the load lasts, and for one load in five at most.
    #[schemars(range(min = 1, max = 5))]
    pub max_attempts: i32,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { max_attempts: 1 }
    }
}

/// When no load is sent any more: if so many of at least 20 loads within the window failed. After a while one is tried, and its answer ends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CircuitBreaker {
    /// Percent of the loads within the window that must fail. No such key is no failure.
    #[schemars(range(min = 1, max = 100))]
    pub failure_percent: i32,

    /// Seconds that are looked at.
    #[schemars(range(min = 1, max = 300))]
    pub window_seconds: i32,

    /// Most seconds between two loads that are tried. The first is tried after 250 milliseconds; each that fails doubles the time, up to this.
    #[schemars(range(min = 1, max = 300))]
    pub open_seconds: i32,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        CircuitBreaker { failure_percent: 50, window_seconds: 10, open_seconds: 5 }
    }
}

fn default_timeout_milliseconds() -> i32 {
    DEFAULT_TIMEOUT_MILLISECONDS
}
