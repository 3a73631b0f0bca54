//! The PodMonitor: tells the Prometheus operator to read the nodes' metrics.

use groupcache_crds::CacheCluster;
use groupcache_crds::upkeep::Keep;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::names;

/// What of a PodMonitor is ours; its definition is the Prometheus operator's.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "PodMonitor",
    namespaced,
    schema = "disabled",
    derive = "PartialEq"
)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitorSpec {
    /// Whose metrics are read.
    pub selector: LabelSelector,
    /// Where they are.
    pub pod_metrics_endpoints: Vec<Endpoint>,
}

/// One port of every pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The port's name.
    pub port: String,
    /// The path.
    pub path: String,
    /// The time between two readings.
    pub interval: String,
}

/// The PodMonitor, if the cluster asks for one.
#[must_use]
pub fn monitor(cluster: &CacheCluster) -> Option<PodMonitor> {
    let asked = &cluster.spec.monitoring.pod_monitor;
    if asked.mode == Keep::Disabled {
        return None;
    }
    let mut metadata = names::child(cluster, names::base(cluster));
    // The operator's own labels win: by them it finds what is its own.
    let labels = metadata.labels.get_or_insert_default();
    for (name, value) in &asked.labels {
        labels.entry(name.clone()).or_insert_with(|| value.0.clone());
    }
    let selector = LabelSelector { match_labels: Some(names::selector(cluster)), ..LabelSelector::default() };
    let endpoint = Endpoint {
        port: "admin".to_owned(),
        path: "/metrics".to_owned(),
        interval: format!("{}s", asked.interval_seconds),
    };
    let spec = PodMonitorSpec { selector, pod_metrics_endpoints: vec![endpoint] };
    Some(PodMonitor { metadata, spec })
}
