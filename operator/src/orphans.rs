//! Removes what a cluster no longer asks for, and nothing that is not its own.

use std::fmt::Debug;

use groupcache_crds::CacheCluster;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{DeleteParams, Preconditions};
use kube::runtime::reflector::Store;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::applied::Children;
use crate::{names, plan};

/// Removes this cluster's budgets and policies that are not among the wanted ones, by whichever version of the operator they were made.
///
/// # Errors
/// If the API server does not answer.
pub async fn remove(
    client: &Client,
    cluster: &CacheCluster,
    wanted: &plan::Children,
    seen: &Children,
) -> kube::Result<()> {
    remove_but(client, cluster, wanted.budget.as_ref(), &seen.budgets).await?;
    remove_but(client, cluster, wanted.policy.as_ref(), &seen.policies).await
}

async fn remove_but<K>(
    client: &Client,
    cluster: &CacheCluster,
    wanted: Option<&K>,
    seen: &Store<K>,
) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + 'static,
{
    let kept = wanted.map(ResourceExt::name_any);
    for orphan in seen.state() {
        if is_of(orphan.as_ref(), cluster) && Some(orphan.name_any()) != kept {
            one(client, orphan.as_ref()).await?;
        }
    }
    Ok(())
}

/// Removes this very object: one that has taken its name meanwhile stays. That it is gone already is as good.
///
/// # Errors
/// If the API server does not answer.
pub async fn one<K>(client: &Client, object: &K) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let only = Preconditions { uid: object.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
    match api.delete(&object.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => Ok(()),
        done => {
            done?;
            tracing::info!(kind = %K::kind(&()), name = %object.name_any(), namespace = ?object.namespace(), "removed: it is no longer asked for");
            Ok(())
        }
    }
}

/// Owned by this cluster, and not just named like it.
fn is_of<K: Resource<DynamicType = ()>>(object: &K, cluster: &CacheCluster) -> bool {
    let owner = object.owner_references().iter().find(|owner| owner.controller == Some(true));
    object.namespace() == cluster.namespace()
        && object.labels().get(names::MANAGED_BY_LABEL).map(String::as_str) == Some(names::MANAGED_BY)
        && owner.is_some_and(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
    use kube::client::Body;
    use kube::runtime::{reflector, watcher};
    use parking_lot::Mutex;

    use super::*;

    fn cluster(uid: &str, spec: &str) -> CacheCluster {
        let mut cluster = CacheCluster::new("c", serde_yaml::from_str(spec).expect("a spec"));
        (cluster.metadata.namespace, cluster.metadata.uid) = (Some("shop".into()), Some(uid.into()));
        cluster
    }

    /// What is deleted of these objects when the cluster asks for a budget, or for none.
    async fn deleted(objects: &[PodDisruptionBudget], wants: bool) -> Vec<String> {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let server = Arc::clone(&asked);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            server.lock().push(format!("{} {}", request.method(), request.uri().path()));
            async { Ok::<_, Infallible>(http::Response::new(Body::from(b"{\"kind\":\"Status\"}".to_vec()))) }
        });
        let (budgets, mut writer) = reflector::store();
        for object in objects {
            writer.apply_watcher_event(&watcher::Event::Apply(object.clone()));
        }
        let ours = cluster("ours", "{}");
        let wanted = plan::disruption::budget(&ours).filter(|_| wants);
        remove_but(&Client::new(service, "default"), &ours, wanted.as_ref(), &budgets)
            .await
            .expect("an answer");
        std::mem::take(&mut *asked.lock())
    }

    #[tokio::test]
    async fn only_what_is_this_clusters_own_and_no_longer_wanted_is_removed() {
        let of = |uid: &str| plan::disruption::budget(&cluster(uid, "{}")).expect("a budget");
        let named = |name: &str, mut budget: PodDisruptionBudget| {
            budget.metadata.name = Some(name.to_owned());
            budget
        };
        let theirs = PodDisruptionBudget {
            metadata: ObjectMeta { namespace: Some("shop".into()), ..ObjectMeta::default() },
            ..of("x")
        };
        let all =
            [of("ours"), named("before", of("ours")), named("d", of("another")), named("theirs", theirs)];
        let path = "DELETE /apis/policy/v1/namespaces/shop/poddisruptionbudgets";
        assert_eq!(deleted(&all, true).await, [format!("{path}/before")]);
        let mut none = deleted(&all, false).await;
        none.sort();
        assert_eq!(none, [format!("{path}/before"), format!("{path}/c")]);
    }
}
