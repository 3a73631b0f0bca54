//! Server-side apply: the only writer of children and of status.

use std::fmt::Debug;

use groupcache_crds::CacheCluster;
use groupcache_crds::status::CacheClusterStatus;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::names;
use crate::plan::Children;

/// Makes the children what they should be and answers them as they are now.
///
/// Fields that others set and the plan does not name stay theirs; fields of the plan are taken back from whoever changed them.
///
/// # Errors
/// If the API server refuses one or does not answer.
pub async fn children(
    client: &Client,
    cluster: &CacheCluster,
    children: &Children,
) -> kube::Result<(Vec<Service>, StatefulSet)> {
    let mut services = Vec::new();
    for service in &children.services {
        services.push(one(client, cluster, service).await?);
    }
    Ok((services, one(client, cluster, &children.statefulset).await?))
}

async fn one<K>(client: &Client, cluster: &CacheCluster, wanted: &K) -> kube::Result<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let params = PatchParams::apply(names::FIELD_MANAGER).force();
    api.patch(&wanted.name_any(), &params, &Patch::Apply(wanted)).await
}

/// Writes the status if it differs from the one that was read; true if it was written.
///
/// # Errors
/// If the API server refuses it or does not answer.
pub async fn status(
    client: &Client,
    cluster: &CacheCluster,
    status: &CacheClusterStatus,
) -> kube::Result<bool> {
    if cluster.status.as_ref() == Some(status) {
        return Ok(false);
    }
    let api: Api<CacheCluster> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": CacheCluster::api_version(&()),
        "kind": CacheCluster::kind(&()),
        "status": status,
    });
    let params = PatchParams::apply(names::STATUS_MANAGER).force();
    api.patch_status(&cluster.name_any(), &params, &Patch::Apply(patch)).await?;
    Ok(true)
}
