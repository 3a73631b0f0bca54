//! Who gets through the policy, as a network that enforces it decides: no network of the tests does.

use std::collections::BTreeMap;

use serde_json::json;

use super::*;

/// A pod that opens a connection.
struct Source {
    namespace: &'static str,
    labels: BTreeMap<String, String>,
}

fn cluster(name: &str) -> CacheCluster {
    let mut cluster = CacheCluster::new(name, serde_json::from_value(json!({})).expect("a spec"));
    cluster.metadata.namespace = Some("shop".into());
    cluster
}

fn pod(namespace: &'static str, labels: BTreeMap<String, String>) -> Source {
    Source { namespace, labels }
}

fn node_of(namespace: &'static str, cluster: &CacheCluster) -> Source {
    pod(namespace, names::labels(cluster))
}

/// Whether every label that the selector names is there; an empty one selects all.
///
/// # Panics
/// If the selector says more than this understands: then it would judge wrongly.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    assert!(selector.match_expressions.is_none(), "expressions are not understood here");
    let wanted = selector.match_labels.iter().flatten();
    wanted.into_iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// As the API's description of `NetworkPolicyPeer` has it: without a namespace selector a pod selector means the policy's own namespace, with one both must hold.
fn is_from(peer: &NetworkPolicyPeer, policy_namespace: &str, source: &Source) -> bool {
    assert!(peer.ip_block.is_none(), "addresses are not understood here");
    let of_namespace = [(NAMESPACE_NAME.to_owned(), source.namespace.to_owned())].into();
    let namespace_fits = peer
        .namespace_selector
        .as_ref()
        .map_or(source.namespace == policy_namespace, |selector| selects(selector, &of_namespace));
    let pod_fits = peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, &source.labels));
    namespace_fits && pod_fits
}

/// Whether this policy, alone, lets the source open a TCP connection to that port of a node of the cluster.
fn lets_in(policy: &NetworkPolicy, target: &CacheCluster, source: &Source, port: i32) -> bool {
    let namespace = policy.metadata.namespace.as_deref().expect("a namespace");
    let spec = policy.spec.as_ref().expect("a spec");
    let isolates = spec.policy_types.iter().flatten().any(|kind| kind == "Ingress")
        && spec.pod_selector.as_ref().is_none_or(|pods| selects(pods, &names::labels(target)));
    // Pods that no policy selects take connections from everybody.
    !isolates
        || spec.ingress.iter().flatten().any(|rule| {
            let from = rule.from.as_ref().is_none_or(|peers| {
                peers.is_empty() || peers.iter().any(|peer| is_from(peer, namespace, source))
            });
            let to = rule.ports.as_ref().is_none_or(|ports| {
                ports.iter().any(|allowed| {
                    assert!(allowed.end_port.is_none(), "ranges are not understood here");
                    allowed.protocol.as_deref() == Some("TCP") && allowed.port == Some(IntOrString::Int(port))
                })
            });
            from && to
        })
}

#[test]
fn only_nodes_of_the_cluster_and_the_operators_namespace_reach_the_cluster_port() {
    let (ours, other) = (cluster("ours"), cluster("other"));
    let policy = policy(&ours, "groupcache-system").expect("a policy");
    let app = || BTreeMap::from([("app".to_owned(), "web".to_owned())]);
    let who = [
        ("a node of the cluster", node_of("shop", &ours), true),
        ("the operator", pod("groupcache-system", app()), true),
        ("an application beside it", pod("shop", app()), false),
        ("an application elsewhere", pod("team", app()), false),
        ("a node of another cluster", node_of("shop", &other), false),
        // Whoever may make pods elsewhere may give them any labels.
        ("a pod elsewhere with a node's labels", node_of("team", &ours), false),
        ("a pod without labels", pod("shop", BTreeMap::new()), false),
    ];
    for (name, source, reaches) in &who {
        let reached = |port| lets_in(&policy, &ours, source, port);
        assert_eq!(reached(names::CLUSTER_PORT), *reaches, "{name}");
        assert!(reached(names::DATA_PORT) && reached(names::ADMIN_PORT), "{name}");
        assert!(!reached(22), "{name}: a port of nobody's");
    }
}

#[test]
fn it_selects_the_pods_that_are_made_and_no_others() {
    let (ours, other) = (cluster("ours"), cluster("other"));
    let policy = policy(&ours, "groupcache-system").expect("a policy");
    let defaults =
        crate::plan::Defaults { node_image: "node:1".into(), namespace: "groupcache-system".into() };
    let made = crate::plan::children(&ours, &defaults, &crate::plan::mounts::Mounts::default()).statefulset;
    let template = made.spec.expect("a spec").template.metadata.expect("metadata").labels.expect("labels");
    let pods = policy.spec.as_ref().and_then(|spec| spec.pod_selector.clone()).expect("a selector");
    assert!(selects(&pods, &template));
    assert!(!selects(&pods, &names::labels(&other)));
}
