//! The children as YAML, compared with the files beside this one. `UPDATE_GOLDEN=1 cargo test` writes them anew.

use std::path::PathBuf;

use groupcache_crds::CacheCluster;

use super::*;

fn defaults() -> Defaults {
    Defaults { node_image: "registry.example/groupcache-node:1".into(), namespace: "operators".into() }
}

fn cluster(name: &str, spec: &str) -> CacheCluster {
    let mut cluster = CacheCluster::new(name, serde_yaml::from_str(spec).expect("a spec"));
    cluster.metadata.namespace = Some("shop".into());
    cluster.metadata.uid = Some("0f".into());
    cluster
}

const FULL: &str = "
replicas: 5
image: registry.example/other:2
imagePullPolicy: Always
drainSeconds: 5
resources: { requests: { cpu: 250m, memory: 512Mi }, limits: { memory: 1.5Gi } }
memory: { cachePercent: 60 }
loaders: [{ name: people, http: { url: 'http://people/{key}' } }]
groups: [{ name: users, maxBytes: 64Mi }]
imagePullSecrets: [{ name: registry }]
scheduling:
  spread: Required
  affinity:
    nodeAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
        nodeSelectorTerms: [{ matchExpressions: [{ key: arch, operator: In, values: [amd64] }] }]
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
      - { weight: 10, podAffinityTerm: { topologyKey: rack, labelSelector: { matchLabels: { app: noisy } } } }
  nodeSelector: { disk: fast }
  priorityClassName: high
  tolerations: [{ key: cache, operator: Equal, value: 'yes', effect: NoExecute, tolerationSeconds: 30 }]
podMetadata: { labels: { team: shop, groupcache.dev/cluster: other }, annotations: { mesh.example/inject: 'false' } }
serviceMetadata: { annotations: { dns.example/hostname: cache.example } }
podDisruptionBudget: { maxUnavailable: 2 }
networkPolicy: { mode: Disabled }
tls: { data: { secretName: shown } }
access: { secretName: tokens, tokens: [{ name: shop, groups: [users], verbs: [Get] }] }
monitoring: { podMonitor: { mode: Managed, intervalSeconds: 15, labels: { release: prometheus, groupcache.dev/cluster: other } } }
";

fn children(cluster: &CacheCluster, defaults: &Defaults) -> Children {
    super::children(cluster, defaults, &Mounts::asked(cluster))
}

fn rendered(children: &Children) -> String {
    let services = children.services.iter().map(yaml);
    let around = [children.budget.as_ref().map(yaml), children.policy.as_ref().map(yaml)];
    let around = around.into_iter().chain([children.monitor.as_ref().map(yaml)]).flatten();
    services.chain([yaml(&children.statefulset)]).chain(around).collect::<Vec<_>>().join("---\n")
}

fn yaml(object: &impl Serialize) -> String {
    serde_yaml::to_string(object).expect("YAML")
}

fn check(file: &str, cluster: &CacheCluster) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/plan/golden").join(file);
    let now = rendered(&children(cluster, &defaults()));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("the folder");
        std::fs::write(&path, &now).expect("the file is written");
    }
    let held = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(held == now, "{file} differs; look at it with UPDATE_GOLDEN=1 and git diff. Now:\n{now}");
}

#[test]
fn the_children_of_the_smallest_cluster() {
    check("smallest.yaml", &cluster("quick", "{}"));
}

#[test]
fn the_children_of_a_full_cluster() {
    check("full.yaml", &cluster("full", FULL));
}

#[test]
fn groups_and_loaders_leave_the_pods_alone() {
    let with = cluster("quick", FULL);
    let mut without = with.clone();
    without.spec.groups.clear();
    without.spec.loaders.clear();
    // Rules go to running nodes; only which Secret holds the tokens is the pods'.
    without.spec.access.as_mut().expect("rules").tokens.clear();
    assert_eq!(children(&with, &defaults()), children(&without, &defaults()));
}

#[test]
fn a_request_to_restart_changes_the_pods_and_nothing_else() {
    let before = cluster("quick", "{}");
    let mut after = before.clone();
    after.metadata.annotations = Some([(crate::names::RESTARTED_AT.to_owned(), "now".to_owned())].into());
    let (before, after) = (children(&before, &defaults()), children(&after, &defaults()));
    assert_eq!(before.services, after.services);
    assert_ne!(before.statefulset, after.statefulset);
}

/// Turned red by: constraints of ours beside the user's, or a selector of the user's that is replaced.
#[test]
fn the_users_spread_constraints_replace_ours_and_count_this_clusters_pods_unless_they_say_otherwise() {
    let asked = "scheduling: { topologySpreadConstraints: [
        { maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule, minDomains: 3, matchLabelKeys: [team] },
        { maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: { matchLabels: { app: any } } } ] }";
    let made = children(&cluster("quick", asked), &defaults()).statefulset.spec.unwrap();
    let constraints = made.template.spec.unwrap().topology_spread_constraints.unwrap();
    let keys: Vec<&str> = constraints.iter().map(|one| one.topology_key.as_str()).collect();
    assert_eq!(keys, ["rack", "zone"]);
    assert_eq!((constraints[0].max_skew, constraints[0].min_domains), (2, Some(3)));
    assert_eq!(constraints[0].label_selector.as_ref(), Some(&made.selector));
    assert_eq!(constraints[1].label_selector.as_ref().unwrap().match_labels.as_ref().unwrap()["app"], "any");
}

#[test]
fn one_node_has_no_budget_because_it_could_only_block() {
    assert_eq!(children(&cluster("one", "replicas: 1"), &defaults()).budget, None);
    let off = "podDisruptionBudget: { mode: Disabled }";
    assert_eq!(children(&cluster("off", off), &defaults()).budget, None);
}

#[test]
fn no_name_is_too_long_for_kubernetes() {
    let longest = "a".repeat(groupcache_crds::cluster::MAX_NAME_LENGTH);
    let children = children(&cluster(&longest, "{}"), &defaults());
    for service in &children.services {
        assert!(kube::ResourceExt::name_any(service).len() <= 63);
    }
    // A StatefulSet labels its pods with its name and a hash of up to ten digits and a dash.
    assert!(kube::ResourceExt::name_any(&children.statefulset).len() + 11 <= 63);
}
