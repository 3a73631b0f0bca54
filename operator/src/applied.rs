//! Whether the children are still as they were applied, so that a look that changes nothing costs no write.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use serde::Serialize;

use crate::plan;

/// The children of all clusters, as the watches last saw them.
#[derive(Clone)]
pub struct Children {
    /// The Services.
    pub services: Store<Service>,
    /// The StatefulSets.
    pub statefulsets: Store<StatefulSet>,
}

/// What was applied, and what the API server made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    wanted: u64,
    /// By name: a fingerprint of what someone else could change.
    made: BTreeMap<String, u64>,
}

impl Applied {
    /// What was wanted, and what it was answered with.
    #[must_use]
    pub fn new(wanted: &plan::Children, services: &[Service], statefulset: &StatefulSet) -> Self {
        let services = services.iter().map(|s| (s.name_any(), fingerprint(&s.metadata, &s.spec)));
        let pods = (POD_KEY.to_owned(), fingerprint(&statefulset.metadata, &statefulset.spec));
        Applied { wanted: hash(wanted), made: services.chain([pods]).collect() }
    }

    /// The StatefulSet as it was last seen, if all is still as it was applied and nothing else is wanted now.
    ///
    /// What the watches have not seen yet differs, and is applied once more: that is harmless.
    #[must_use]
    pub fn still(&self, wanted: &plan::Children, seen: &Children) -> Option<StatefulSet> {
        if self.wanted != hash(wanted) {
            return None;
        }
        let same = |name: &str, now: u64| self.made.get(name) == Some(&now);
        let services = wanted.services.iter().all(|service| {
            let held = seen.services.get(&ObjectRef::from_obj(service));
            held.is_some_and(|held| same(&held.name_any(), fingerprint(&held.metadata, &held.spec)))
        });
        let held = seen.statefulsets.get(&ObjectRef::from_obj(&wanted.statefulset))?;
        let pods = same(POD_KEY, fingerprint(&held.metadata, &held.spec));
        (services && pods).then(|| (*held).clone())
    }
}

/// No Service can have this name.
const POD_KEY: &str = "/statefulset";

fn fingerprint(metadata: &ObjectMeta, spec: &impl Serialize) -> u64 {
    let ObjectMeta { uid, labels, annotations, owner_references, deletion_timestamp, .. } = metadata;
    hash(&(uid, labels, annotations, owner_references, deletion_timestamp, spec))
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
        let defaults = plan::Defaults { node_image: "i".into() };
        let made = plan::children(&cluster, &defaults);
        let applied = Applied::new(&made, &made.services, &made.statefulset);

        let (services, mut services_writer) = reflector::store();
        let (statefulsets, mut statefulsets_writer) = reflector::store();
        let (mut statefulset, mut service) = (made.statefulset.clone(), made.services[0].clone());
        change(&mut statefulset, &mut service);
        statefulsets_writer.apply_watcher_event(&watcher::Event::Apply(statefulset));
        for service in [service, made.services[1].clone(), made.services[2].clone()] {
            services_writer.apply_watcher_event(&watcher::Event::Apply(service));
        }
        cluster.spec.replicas = replicas;
        let seen = Children { services, statefulsets };
        applied.still(&plan::children(&cluster, &defaults), &seen).is_some()
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
