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

use crate::applied::{self, Marks};
use crate::plan::Children;
use crate::pods::{NAME_TAKEN, OBJECT_REFUSED, Problem};
use crate::{names, ownership, pods};

/// What became of the children.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Those that are as they should be.
    pub marks: Marks,
    /// The StatefulSet, if it is among them.
    pub statefulset: Option<StatefulSet>,
    /// Why the others are not: a matter for the user, not for another try.
    pub problems: Vec<Problem>,
}

/// Makes the children what they should be and answers them as they are now.
///
/// Fields that others set and the plan does not name stay theirs; fields of the plan are taken back from whoever changed them.
/// An object of that name which is not the cluster's own is left alone; one that is refused does not keep the others back.
///
/// # Errors
/// If the API server does not answer, or another writer was faster.
pub async fn children(client: &Client, cluster: &CacheCluster, children: &Children) -> kube::Result<Made> {
    let mut made = Made::default();
    for service in &children.services {
        made.note(one_service(client, cluster, service).await?);
    }
    // Before the pods: from the first of them on it holds.
    if let Some(policy) = &children.policy {
        made.note(one(client, cluster, policy).await?);
    }
    made.statefulset = made.note(one(client, cluster, &children.statefulset).await?);
    if let Some(budget) = &children.budget {
        made.note(one(client, cluster, budget).await?);
    }
    Ok(made)
}

impl Made {
    fn note<K: Resource<DynamicType = ()> + Serialize>(&mut self, one: Result<K, Problem>) -> Option<K> {
        match one {
            Ok(object) => {
                self.marks.extend([applied::mark(&object)]);
                Some(object)
            }
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

/// The StatefulSet as it is now, if it is the cluster's own.
///
/// # Errors
/// If the API server does not answer.
pub async fn held_statefulset(client: &Client, cluster: &CacheCluster) -> kube::Result<Option<StatefulSet>> {
    let api: Api<StatefulSet> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let held = api.get_opt(&names::base(cluster)).await?;
    Ok(held.filter(|held| ownership::stranger(&held.metadata, cluster).is_none()))
}

/// As [`one`]. Ports are merged by number: where somebody has changed one's number, ours would be a second of the same name. The list is taken back as a
/// whole then.
async fn one_service(
    client: &Client,
    cluster: &CacheCluster,
    wanted: &Service,
) -> kube::Result<Result<Service, Problem>> {
    let made = one(client, cluster, wanted).await?;
    let Some(ports) = wanted.spec.as_ref().and_then(|spec| spec.ports.as_ref()) else { return Ok(made) };
    if !made.as_ref().is_err_and(|problem| problem.reason == OBJECT_REFUSED) {
        return Ok(made);
    }
    let api: Api<Service> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let ports = Patch::Merge(json!({"spec": {"ports": ports}}));
    let params =
        PatchParams { field_manager: Some(names::FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match api.patch(&wanted.name_any(), &params, &ports).await {
        Ok(_) => one(client, cluster, wanted).await,
        // It is refused for something else, which has been told.
        Err(kube::Error::Api(_)) => Ok(made),
        Err(error) => Err(error),
    }
}

/// Makes one object what it should be, and answers it as it is now, or why not.
///
/// # Errors
/// As [`children`].
pub async fn one<K>(client: &Client, cluster: &CacheCluster, wanted: &K) -> kube::Result<Result<K, Problem>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let (kind, name) = (K::kind(&()), wanted.name_any());
    let mut wanted = wanted.clone();
    let mut params = PatchParams::apply(names::FIELD_MANAGER);
    // Without force a field that somebody else has set since this look is a conflict, and nothing is seized.
    if let Some(held) = api.get_metadata_opt(&name).await? {
        if let Some(why) = ownership::stranger(&held.metadata, cluster) {
            return Ok(Err(Problem { reason: NAME_TAKEN, text: format!("{kind} {name} {why}") }));
        }
        // Only this very object: not one that has taken its name meanwhile.
        wanted.meta_mut().uid = held.metadata.uid;
        params = params.force();
    }
    match api.patch(&name, &params, &Patch::Apply(&wanted)).await {
        Ok(made) => Ok(Ok(made)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            let text = format!("{kind} {name} is refused by the API server: {}", status.message);
            Ok(Err(Problem { reason: OBJECT_REFUSED, text: pods::clipped(&text) }))
        }
        Err(error) => Err(error),
    }
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

#[cfg(test)]
mod tests;
