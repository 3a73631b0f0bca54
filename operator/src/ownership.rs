//! Whose an object is that has the name or the labels of a child: what is not this cluster's is never touched. Pure.

use groupcache_crds::CacheCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt};

use crate::names;

/// Why an object must be left alone, in words; `None`: it is the cluster's own.
///
/// An object with our labels and no owner was orphaned (`kubectl delete --cascade=orphan`) and is taken back.
#[must_use]
pub fn stranger(object: &ObjectMeta, cluster: &CacheCluster) -> Option<String> {
    let owner = object.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let Some(owner) = owner else {
        let label = |key: &str| object.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let orphan = label(names::CLUSTER_LABEL) == Some(cluster.name_any().as_str())
            && label(names::MANAGED_BY_LABEL) == Some(names::MANAGED_BY);
        return (!orphan).then(|| {
            "was there before and is not this operator's; delete it, or give the CacheCluster another name".to_owned()
        });
    };
    if Some(&owner.uid) == cluster.metadata.uid.as_ref() {
        return None;
    }
    if owner.kind == CacheCluster::kind(&()) && owner.name == cluster.name_any() {
        return Some("belongs to a deleted CacheCluster of this name and is about to be removed".to_owned());
    }
    Some(format!("belongs to the {} {}; give one of the two another name", owner.kind, owner.name))
}

/// True for the name of a pod of the StatefulSet `base`: its name and an ordinal. Labels alone make no member.
#[must_use]
pub fn is_pod_name(name: &str, base: &str) -> bool {
    let ordinal = name.strip_prefix(base).and_then(|rest| rest.strip_prefix('-'));
    ordinal.is_some_and(|ordinal| !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit()))
}

/// True for a pod of that StatefulSet, or one that it is about to adopt.
///
/// Pods of a deleted cluster of the same name have its labels for a while, but another owner.
#[must_use]
pub fn is_pod_of(pod: &ObjectMeta, base: &str, statefulset_uid: Option<&str>) -> bool {
    let owner = pod.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let owned = owner.is_none_or(|owner| Some(owner.uid.as_str()) == statefulset_uid);
    owned && pod.name.as_deref().is_some_and(|name| is_pod_name(name, base))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn cluster() -> CacheCluster {
        let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
        cluster.metadata.uid = Some("ours".into());
        cluster
    }

    fn owned(kind: &str, name: &str, uid: &str, controller: bool) -> ObjectMeta {
        let owner = OwnerReference {
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(controller),
            ..OwnerReference::default()
        };
        ObjectMeta { owner_references: Some(vec![owner]), ..ObjectMeta::default() }
    }

    #[test]
    fn what_belongs_to_another_or_to_nobody_is_left_alone() {
        let why = |object: &ObjectMeta| stranger(object, &cluster()).unwrap_or_default();
        assert_eq!(why(&owned("CacheCluster", "c", "ours", true)), "");
        assert!(why(&ObjectMeta::default()).starts_with("was there before"));
        assert!(why(&owned("CacheCluster", "c", "old", true)).starts_with("belongs to a deleted"));
        assert!(why(&owned("CacheCluster", "c-lb", "other", true)).contains("the CacheCluster c-lb;"));
        assert!(why(&owned("Deployment", "web", "ours", false)).starts_with("was there before"));
    }

    #[test]
    fn what_was_orphaned_is_taken_back() {
        let orphan = ObjectMeta { owner_references: None, ..names::child(&cluster(), "c".into()) };
        assert_eq!(stranger(&orphan, &cluster()), None);
        let mut labelled = orphan;
        labelled.labels.as_mut().expect("labels").insert(names::CLUSTER_LABEL.into(), "d".into());
        assert!(stranger(&labelled, &cluster()).is_some());
    }

    #[test]
    fn a_pod_is_a_member_by_its_name_and_its_owner_not_by_its_labels() {
        let check = |name: &str, owner: Option<&str>, expected: bool| {
            let mut pod = owned("StatefulSet", "c", owner.unwrap_or_default(), owner.is_some());
            pod.name = Some(name.into());
            assert_eq!(is_pod_of(&pod, "c", Some("set")), expected, "{name} of {owner:?}");
        };
        check("c-0", Some("set"), true);
        check("c-12", None, true);
        check("c-0", Some("the set of a deleted cluster"), false);
        check("c-0-0", Some("set"), false);
        check("c-", None, false);
        check("c-lb-0", None, false);
        check("liar", None, false);
    }
}
