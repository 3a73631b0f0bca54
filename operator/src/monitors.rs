//! Makes, repairs and removes a cluster's PodMonitor, whose kind may not exist and is therefore not watched.

use groupcache_crds::CacheCluster;
use kube::{Api, Client, ResourceExt};

use crate::plan::monitor::PodMonitor;
use crate::pods::{OBJECT_REFUSED, Problem};
use crate::{applied, apply, names, orphans, ownership};

/// What is known of it from the looks before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: this process has not looked yet.
    #[default]
    Nothing,
    /// There is none of ours.
    Absent,
    /// It was as it should be, and this is the fingerprint of it and of what was asked for.
    Made(u64, u64),
}

/// Makes it what it should be. While nobody asks for one this costs one request in the life of the process, and one a look while somebody does.
///
/// # Errors
/// If the API server does not answer, or another writer was faster.
pub async fn tend(
    client: &Client,
    cluster: &CacheCluster,
    wanted: Option<&PodMonitor>,
    known: &mut Known,
) -> kube::Result<Option<Problem>> {
    if wanted.is_none() && *known == Known::Absent {
        return Ok(None);
    }
    let api: Api<PodMonitor> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let held = api.get_opt(&names::base(cluster)).await?;
    let Some(wanted) = wanted else {
        if let Some(held) = held.filter(|held| ownership::stranger(&held.metadata, cluster).is_none()) {
            orphans::one(client, &held).await?;
        }
        *known = Known::Absent;
        return Ok(None);
    };
    let asked = applied::mark(wanted).1;
    if held.is_some_and(|held| *known == Known::Made(asked, applied::mark(&held).1)) {
        return Ok(None);
    }
    match apply::one(client, cluster, wanted).await {
        Ok(Ok(made)) => {
            *known = Known::Made(asked, applied::mark(&made).1);
            Ok(None)
        }
        Ok(Err(problem)) => Ok(Some(problem)),
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            let text = format!(
                "PodMonitor {}: there is no such kind here; install the Prometheus operator, or set spec.monitoring.podMonitor.mode to Disabled",
                wanted.name_any()
            );
            Ok(Some(Problem { reason: OBJECT_REFUSED, text }))
        }
        Err(error) => Err(error),
    }
}
