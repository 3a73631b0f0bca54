//! The CacheClusters that are measured: how they are asked for, and when one is at rest.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use groupcache_crds::CacheCluster;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::machines;

/// Where all of them are.
pub(crate) const NAMESPACE: &str = "scale";
/// Requests of ours at a time.
const AT_ONCE: usize = 16;
/// What must be true of a cluster at rest.
const TRUE: [&str; 4] = ["Available", "RingConverged", "ConfigurationApplied", "CertificatesReady"];

/// The name of one of them. Of one width, so that none begins with another's.
pub(crate) fn name(number: usize) -> String {
    format!("cache-{number:04}")
}

fn object(number: usize, members: usize) -> Value {
    json!({
        "apiVersion": "groupcache.dev/v1alpha1",
        "kind": "CacheCluster",
        "metadata": {"name": name(number), "namespace": NAMESPACE},
        "spec": {
            "replicas": members,
            "drainSeconds": 5,
            "resources": {"limits": {"memory": "64Mi"}},
            "loaders": [{"name": "source", "http": {"url": "http://source.invalid/{key}"}}],
            "groups": [{"name": "first", "maxBytes": "4Mi"}],
            "scheduling": {
                "nodeSelector": {machines::MARK: "true"},
                "tolerations": [{"key": machines::MARK, "operator": "Exists"}],
            },
        },
    })
}

/// Applies so many of so many members each.
///
/// # Errors
/// When one is refused.
pub(crate) async fn create(client: &Client, count: usize, members: usize) -> Result<()> {
    let api = api(client);
    let one = |number: usize| {
        let api = api.clone();
        async move {
            let cluster = serde_json::from_value(object(number, members))?;
            let made = api.create(&PostParams::default(), &cluster).await;
            made.map(drop).with_context(|| format!("could not make {}", name(number)))
        }
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// Gives the first so many another group; answers the generation of each from then on.
///
/// # Errors
/// When one is refused.
pub(crate) async fn add_group(client: &Client, count: usize, group: &str) -> Result<Vec<(String, i64)>> {
    let api = api(client);
    let one = |number: usize| {
        let api = api.clone();
        async move {
            let name = name(number);
            let held = api.get(&name).await?;
            let mut groups = serde_json::to_value(&held.spec.groups)?;
            groups.as_array_mut().context("a list")?.push(json!({"name": group, "maxBytes": "4Mi"}));
            let change = Patch::Merge(json!({"spec": {"groups": groups}}));
            let changed = api.patch(&name, &PatchParams::default(), &change).await?;
            anyhow::Ok((name, changed.metadata.generation.unwrap_or_default()))
        }
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// The clusters.
pub(crate) fn api(client: &Client) -> Api<CacheCluster> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// True if the status is about this generation at least, all nodes have acknowledged, and nothing earlier binds.
pub(crate) fn at_rest(cluster: &CacheCluster, generation: i64) -> bool {
    let wanted = cluster.spec.replicas;
    let Some(status) = &cluster.status else { return false };
    let Some(membership) = &status.membership else { return false };
    let holds = |kind: &str| status.conditions.iter().any(|one| one.type_ == kind && one.status == "True");
    status.observed_generation >= Some(generation)
        && status.observed_generation == cluster.metadata.generation
        && status.ready_replicas == wanted
        && membership.active == wanted
        && membership.acknowledged == wanted
        && membership.priors == 0
        && TRUE.into_iter().all(holds)
}

/// What is seen of a cluster, for whoever waits in vain.
pub(crate) fn told(cluster: &CacheCluster) -> String {
    let status = serde_json::to_string(&cluster.status).unwrap_or_default();
    format!("{}: {status}", cluster.name_any())
}
