//! Holds readiness back until a node that has just started may serve copies, for a moment at most.
//!
//! Until its first grants are there a node loads for every Get and keeps nothing; clients are better served elsewhere. But a node that gets
//! none must not stay away for ever: that would take the whole cluster away where no grants can be had.

use std::sync::Arc;
use std::time::Duration;

use groupcache_group::groups::Groups;
use groupcache_process::readiness::Condition;
use tokio::time::{Instant, sleep};

/// A grantor that has just started is silent for one staleness bound; the rest is for joining.
const BOUNDS: u32 = 3;

/// Between two looks.
const GLANCE: Duration = Duration::from_millis(20);

/// Meets the condition once the node serves copies, or once it has waited long enough.
pub async fn wait(condition: Condition, groups: Arc<Groups>) {
    let (grants, began) = (groups.grants(), Instant::now());
    while !grants.serves(grants.clock().now()) {
        if began.elapsed() >= grants.bound() * BOUNDS {
            tracing::warn!(
                "no grants to serve copies yet: ready all the same, but every Get is loaded and nothing is kept"
            );
            break;
        }
        sleep(GLANCE).await;
    }
    condition.met();
    // Dropped, it would count as one that nobody tends: not met.
    std::future::pending::<()>().await;
    drop(condition);
}
