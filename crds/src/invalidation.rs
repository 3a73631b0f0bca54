//! How long invalidation may take: until a node that is cut off serves no copy any more, and for one purge.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Default of [`Invalidation::staleness_bound_seconds`].
pub const DEFAULT_STALENESS_BOUND_SECONDS: i32 = 5;
/// Default of [`Invalidation::purge_timeout_milliseconds`].
pub const DEFAULT_PURGE_TIMEOUT_MILLISECONDS: i32 = 1000;

/// Bounds on what a Remove may take, the same for all groups. Changes apply to running nodes; no pod is restarted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.stalenessBoundSeconds * 1000 >= self.purgeTimeoutMilliseconds")
        .message("stalenessBoundSeconds must not be shorter than purgeTimeoutMilliseconds: a node that restarts during a purge could serve what was purged")
        .field_path(".stalenessBoundSeconds")
)]
pub struct Invalidation {
    /// Seconds after which a node that is cut off from the others serves no copy any more. A Remove that cannot reach a node, and every change of
    /// the ring, waits for as long. Shorter: such waits are shorter, and a slow machine or network makes nodes pass through more often.
    #[serde(default = "default_staleness_bound_seconds")]
    #[schemars(range(min = 1, max = 60))]
    pub staleness_bound_seconds: i32,

    /// Milliseconds a purge may take at one node; a Remove takes a node that has not answered by then for cut off. For as long after a purge,
    /// what is fetched from peers is answered and not kept.
    #[serde(default = "default_purge_timeout_milliseconds")]
    #[schemars(range(min = 10, max = 60_000))]
    pub purge_timeout_milliseconds: i32,
}

// By hand: a derived one would write zeros into the definition, below its own minimum.
impl Default for Invalidation {
    fn default() -> Self {
        Invalidation {
            staleness_bound_seconds: DEFAULT_STALENESS_BOUND_SECONDS,
            purge_timeout_milliseconds: DEFAULT_PURGE_TIMEOUT_MILLISECONDS,
        }
    }
}

fn default_staleness_bound_seconds() -> i32 {
    DEFAULT_STALENESS_BOUND_SECONDS
}

fn default_purge_timeout_milliseconds() -> i32 {
    DEFAULT_PURGE_TIMEOUT_MILLISECONDS
}
