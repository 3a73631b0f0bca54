//! Whether the children are still as they were applied, so that a look that changes nothing costs no write.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::Value;

use crate::plan;

/// The children of all clusters, as the watches last saw them.
#[derive(Clone)]
pub struct Children {
    /// The Services.
    pub services: Store<Service>,
    /// The StatefulSets.
    pub statefulsets: Store<StatefulSet>,
    /// The budgets.
    pub budgets: Store<PodDisruptionBudget>,
    /// The policies.
    pub policies: Store<NetworkPolicy>,
}

/// By kind and name: a fingerprint of what someone else could change.
pub type Marks = BTreeMap<String, u64>;

/// What was applied, and what the API server made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    wanted: u64,
    made: Marks,
}

impl Applied {
    /// What was wanted, and what it was answered with.
    #[must_use]
    pub fn new(wanted: &plan::Children, made: Marks) -> Self {
        Applied { wanted: hash(wanted), made }
    }

    /// The StatefulSet as it was last seen, if all is still as it was applied and nothing else is wanted now.
    ///
    /// What the watches have not seen yet differs, and is applied once more: that is harmless. The PodMonitor is not among them, because its kind may not
    /// exist and a watch of it would fail.
    #[must_use]
    pub fn still(&self, wanted: &plan::Children, seen: &Children) -> Option<StatefulSet> {
        let same = self.wanted == hash(wanted)
            && wanted.services.iter().all(|service| self.holds(&seen.services, service))
            && wanted.budget.iter().all(|budget| self.holds(&seen.budgets, budget))
            && wanted.policy.iter().all(|policy| self.holds(&seen.policies, policy))
            && self.holds(&seen.statefulsets, &wanted.statefulset);
        let held = seen.statefulsets.get(&ObjectRef::from_obj(&wanted.statefulset))?;
        same.then(|| (*held).clone())
    }

    fn holds<K>(&self, seen: &Store<K>, wanted: &K) -> bool
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + 'static,
    {
        let held = seen.get(&ObjectRef::from_obj(wanted));
        held.is_some_and(|held| {
            let (name, now) = mark(&*held);
            self.made.get(&name) == Some(&now)
        })
    }
}

/// The kind and name of an object, and the fingerprint of everything but its status and what the API server counts.
pub fn mark<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> (String, u64) {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for counted in ["resourceVersion", "generation", "managedFields"] {
            metadata.remove(counted);
        }
    }
    (format!("{}/{}", K::kind(&()), object.name_any()), hash(&value))
}

/// Lives as long as the process: it is never stored.
fn hash(value: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(value).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use groupcache_crds::CacheCluster;
    use kube::runtime::{reflector, watcher};

    use super::*;

    /// The children of a cluster, applied as they are and seen by the watches after this change.
    fn still(change: impl FnOnce(&mut StatefulSet, &mut Service), replicas: i32) -> bool {
        let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
        cluster.metadata.namespace = Some("shop".into());
        let defaults = plan::Defaults { node_image: "i".into(), namespace: "operators".into() };
        let made = plan::children(&cluster, &defaults, &plan::mounts::Mounts::default());
        let (budget, policy) = (made.budget.clone().expect("one"), made.policy.clone().expect("one"));
        let marks = made.services.iter().map(mark);
        let marks = marks.chain([mark(&made.statefulset), mark(&budget), mark(&policy)]).collect();
        let applied = Applied::new(&made, marks);

        let (services, mut services_writer) = reflector::store();
        let (statefulsets, mut statefulsets_writer) = reflector::store();
        let (mut statefulset, mut service) = (made.statefulset.clone(), made.services[0].clone());
        change(&mut statefulset, &mut service);
        statefulsets_writer.apply_watcher_event(&watcher::Event::Apply(statefulset));
        for service in [service, made.services[1].clone(), made.services[2].clone()] {
            services_writer.apply_watcher_event(&watcher::Event::Apply(service));
        }
        let (budgets, mut budgets_writer) = reflector::store();
        let (policies, mut policies_writer) = reflector::store();
        budgets_writer.apply_watcher_event(&watcher::Event::Apply(budget));
        policies_writer.apply_watcher_event(&watcher::Event::Apply(policy));
        cluster.spec.replicas = replicas;
        let seen = Children { services, statefulsets, budgets, policies };
        applied.still(&plan::children(&cluster, &defaults, &plan::mounts::Mounts::default()), &seen).is_some()
    }

    #[test]
    fn children_are_left_alone_until_they_or_the_wish_change() {
        assert!(still(|_, _| {}, 3));
        assert!(still(|set, _| set.metadata.resource_version = Some("9".into()), 3));
        assert!(still(|set, _| set.status = Some(Default::default()), 3), "a new status is no drift");
        assert!(!still(|_, _| {}, 4), "another number of pods is wanted");
        assert!(!still(|set, _| set.spec.as_mut().expect("a spec").replicas = Some(1), 3));
        assert!(!still(|set, _| set.metadata.labels = None, 3));
        assert!(!still(|_, service| service.spec = None, 3));
        assert!(!still(|_, service| service.metadata.name = Some("other".into()), 3), "it is gone");
    }
}
