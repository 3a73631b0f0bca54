//! What the API server says of the clusters, as it says it, and the wait for a state.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::{StreamExt, pin_mut};
use groupcache_crds::CacheCluster;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::clusters;

/// How long a state may take: many times what it takes on two busy cores.
pub(crate) const LIMIT: Duration = Duration::from_secs(1800);
/// Between two lines that tell how far it is.
const TOLD: Duration = Duration::from_secs(10);

/// The clusters by name.
pub(crate) type Seen = BTreeMap<String, CacheCluster>;

/// Watches until dropped.
pub(crate) async fn keep_up(client: Client, seen: watch::Sender<Seen>) {
    let events = watcher(clusters::api(&client), watcher::Config::default());
    let clusters = events.default_backoff().applied_objects();
    pin_mut!(clusters);
    while let Some(cluster) = clusters.next().await {
        match cluster {
            Ok(cluster) => seen.send_modify(|seen| drop(seen.insert(cluster.name_any(), cluster))),
            Err(error) => eprintln!("the watch of clusters starts over: {error}"),
        }
    }
}

/// Waits until each of these clusters satisfies `reached`; answers how long it took since `since`.
///
/// # Errors
/// After [`LIMIT`], with what was seen of the first that did not.
pub(crate) async fn all(
    mut seen: watch::Receiver<Seen>,
    what: &str,
    since: Instant,
    names: &[String],
    reached: impl Fn(&CacheCluster) -> bool,
) -> Result<Duration> {
    let mut told = Instant::now();
    loop {
        let missing: Vec<String> = {
            let seen = seen.borrow_and_update();
            let is_missing = |name: &&String| !seen.get(*name).is_some_and(&reached);
            names.iter().filter(is_missing).cloned().collect()
        };
        let Some(first) = missing.first() else { return Ok(since.elapsed()) };
        if since.elapsed() > LIMIT {
            let last =
                seen.borrow().get(first).map_or_else(|| format!("{first} is not seen"), clusters::told);
            bail!("{what}: {} of {} are not there after {LIMIT:?}; {last}", missing.len(), names.len());
        }
        if told.elapsed() > TOLD {
            told = Instant::now();
            eprintln!("  {what}: {} of {} to go", missing.len(), names.len());
        }
        // A change, or the time to look at the limit again.
        let _ = timeout(Duration::from_secs(1), seen.changed()).await;
    }
}
