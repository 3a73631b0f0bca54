//! Loads that nobody waits for any more: finished and kept, or dropped, as the group says.

use std::time::Duration;

use groupcache_group::group::{AbandonedLoads, GetError, Settings, Source};
use tokio::time::Instant;

use crate::network::{Cluster, eventually, key, settings};

async fn after_the_last_caller_left(abandoned_loads: AbandonedLoads) -> Cluster {
    let cluster = Cluster::with(1, Settings { abandoned_loads, ..settings() }).await;
    cluster.source.hold(true);
    let soon = Instant::now() + Duration::from_millis(10);
    assert_eq!(cluster.get_by(0, &key("k"), soon).await, Err(GetError::DeadlineExceeded));
    assert_eq!(cluster.source.loads(), 1);
    cluster
}

#[tokio::test(start_paused = true)]
async fn finish_keeps_what_a_slow_source_brings_after_its_callers_have_left() {
    let cluster = after_the_last_caller_left(AbandonedLoads::Finish).await;
    assert_eq!(cluster.group(0).sizes().flights, 1);
    cluster.source.hold(false);
    eventually(|| cluster.group(0).sizes().flights == 0).await;
    assert_eq!(cluster.get(0, &key("k")).await.unwrap().source, Source::Main);
}

#[tokio::test(start_paused = true)]
async fn cancel_drops_a_load_with_its_last_caller() {
    let cluster = after_the_last_caller_left(AbandonedLoads::Cancel).await;
    eventually(|| cluster.group(0).sizes().flights == 0).await;
    cluster.source.hold(false);
    assert_eq!(cluster.get(0, &key("k")).await.unwrap().source, Source::Loader);
    assert_eq!(cluster.source.loads(), 2);
}
