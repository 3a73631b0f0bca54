//! What the cluster port needs of memberships: a seam, so that transport and membership know nothing of each other.

use futures::future::BoxFuture;
use groupcache_proto::cluster::{AnnounceRequest, ApplyRequest, ApplyResponse, SignedSnapshot};
use groupcache_ring::Version;
use tokio::time::Instant;

/// Who this node is, and the memberships it has heard of.
pub trait Control: Send + Sync + 'static {
    /// The node's name.
    fn name(&self) -> &str;

    /// The pod's uid; empty outside Kubernetes.
    fn pod_uid(&self) -> &str;

    /// The process's boot id.
    fn boot(&self) -> u64;

    /// True once the node has begun to drain.
    fn is_draining(&self) -> bool;

    /// A snapshot was pushed. The answer may be kept back for as long as the request allows.
    fn apply(&self, request: ApplyRequest) -> BoxFuture<'_, ApplyResponse>;

    /// The snapshot in force.
    fn snapshot(&self) -> Option<SignedSnapshot>;

    /// A peer says who it is now.
    fn announced(&self, announce: &AnnounceRequest);

    /// A node has shown this version: if it is newer, its snapshot is fetched behind the caller's back.
    fn heard(&self, node: &str, version: Version);

    /// As `heard`, and waits until this node has caught up, or the moment given.
    fn catch_up(&self, node: &str, version: Version, until: Instant) -> BoxFuture<'_, ()>;
}
