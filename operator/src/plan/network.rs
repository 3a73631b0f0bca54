//! The NetworkPolicy: who may open connections to the nodes, where the network enforces it.

use groupcache_crds::CacheCluster;
use groupcache_crds::upkeep::Keep;
use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names;

/// The label that Kubernetes puts on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Everybody may ask and read metrics; on the cluster port only nodes and the operator's namespace may speak.
#[must_use]
pub fn policy(cluster: &CacheCluster, operator_namespace: &str) -> Option<NetworkPolicy> {
    let pods = LabelSelector { match_labels: Some(names::selector(cluster)), ..LabelSelector::default() };
    let operators = LabelSelector {
        match_labels: Some([(NAMESPACE_NAME.to_owned(), operator_namespace.to_owned())].into()),
        ..LabelSelector::default()
    };
    let spec = NetworkPolicySpec {
        pod_selector: Some(pods.clone()),
        policy_types: Some(vec!["Ingress".to_owned()]),
        ingress: Some(vec![
            NetworkPolicyIngressRule {
                from: None,
                ports: Some(vec![port(names::DATA_PORT), port(names::ADMIN_PORT)]),
            },
            NetworkPolicyIngressRule {
                from: Some(vec![
                    NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() },
                    NetworkPolicyPeer { namespace_selector: Some(operators), ..NetworkPolicyPeer::default() },
                ]),
                ports: Some(vec![port(names::CLUSTER_PORT)]),
            },
        ]),
        egress: None,
    };
    (cluster.spec.network_policy.mode == Keep::Managed)
        .then(|| NetworkPolicy { metadata: names::child(cluster, names::base(cluster)), spec: Some(spec) })
}

/// By number: not every network resolves a port's name in a policy.
fn port(number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(number)),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

#[cfg(test)]
mod tests;
