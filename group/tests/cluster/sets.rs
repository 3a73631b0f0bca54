//! Sets: the value is the owner's from then on, unless what happened meanwhile may be newer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use groupcache_group::clock::Clock;
use groupcache_group::grants::{Grants, beats};
use groupcache_group::group::{Origin, Source as From};
use groupcache_group::groups::Groups;
use groupcache_group::peer::NoPeers;
use groupcache_group::view::View;
use tokio::time::{Instant, sleep};

use crate::network::{Cluster, GROUP, in_time, key, settings};
use crate::source::{Source, counter};

fn value(counter: u64) -> Bytes {
    Bytes::copy_from_slice(&counter.to_le_bytes())
}

#[tokio::test(start_paused = true)]
async fn what_was_set_is_answered_by_every_node_without_a_load() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[1]);
    cluster.group(2).set(key.clone(), value(7), None, None, in_time()).await.unwrap();
    for at in 0..3 {
        assert_eq!(counter(&cluster.get(at, &key).await.unwrap()), 7);
    }
    assert_eq!(cluster.source.loads(), 0);
}

/// Its second purge is younger than a Remove that was called after the Set, and the value is not.
#[tokio::test(start_paused = true)]
async fn a_set_that_needs_a_second_round_purges_and_stores_nothing() {
    let cluster = Cluster::of(3).await;
    let key = cluster.key_of(&[1]);
    cluster.network.cut("n2");
    cluster.group(0).set(key.clone(), value(7), None, None, in_time()).await.unwrap();
    assert_eq!(cluster.group(0).stats().removes_barred, 1);
    assert_eq!(counter(&cluster.get(0, &key).await.unwrap()), 0, "the source says so");
    assert_eq!(cluster.source.loads(), 1);
}

/// A machine that slept for an hour has a boot-time clock an hour ahead of the runtime's.
#[tokio::test(start_paused = true)]
async fn after_a_sleep_what_expires_is_kept_for_its_time_and_no_longer() {
    let clock = Clock::new(|| Instant::now() + Duration::from_secs(3600));
    let groups = Arc::new(Groups::new(Arc::new(NoPeers), Grants::new(clock.clone())));
    tokio::spawn(beats::keep_up(groups.clone()));
    let mut settings = settings();
    settings.ttl = Some(Duration::from_secs(60));
    groups.configure(vec![(settings, Arc::new(Source::default()))]);
    groups.adopt(Arc::new(View::alone("alone").unwrap()));
    while !groups.grants().serves(clock.now()) {
        sleep(Duration::from_millis(10)).await;
    }
    let group = groups.get(GROUP).unwrap();
    let get = || async { group.get(key("k"), Origin::Client, in_time()).await.unwrap().source };
    assert_eq!(get().await, From::Loader);
    assert_eq!(get().await, From::Main);
    sleep(Duration::from_secs(61)).await;
    assert_eq!(get().await, From::Loader);
}
