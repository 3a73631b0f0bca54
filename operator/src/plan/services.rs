//! The three Services: one for applications, one for the operator, one for clients that cannot balance.

use groupcache_crds::CacheCluster;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::names;
use crate::plan::marks;

/// What applications point at: the addresses of the nodes that are ready.
#[must_use]
pub fn ready(cluster: &CacheCluster) -> Service {
    let spec =
        ServiceSpec { cluster_ip: Some("None".to_owned()), ports: Some(vec![data()]), ..spec(cluster) };
    theirs(cluster, service(cluster, names::base(cluster), "ready", spec))
}

/// What the operator watches: every node that has an address, ready or not. It governs the StatefulSet.
#[must_use]
pub fn members(cluster: &CacheCluster) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![port("cluster", names::CLUSTER_PORT)]),
        ..spec(cluster)
    };
    service(cluster, names::members(cluster), names::MEMBERS, spec)
}

/// One address in front of the nodes that are ready, for curl and other clients that cannot balance.
#[must_use]
pub fn balanced(cluster: &CacheCluster) -> Service {
    let spec = ServiceSpec { ports: Some(vec![data()]), ..spec(cluster) };
    theirs(cluster, service(cluster, names::balanced(cluster), "balanced", spec))
}

/// With what the user wants on the Services that applications use.
fn theirs(cluster: &CacheCluster, mut service: Service) -> Service {
    marks::add(&cluster.spec.service_metadata, &mut service.metadata);
    service
}

fn service(cluster: &CacheCluster, name: String, role: &str, spec: ServiceSpec) -> Service {
    let mut metadata = names::child(cluster, name);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(names::SERVICE_LABEL.to_owned(), role.to_owned());
    Service { metadata, spec: Some(spec), ..Service::default() }
}

fn spec(cluster: &CacheCluster) -> ServiceSpec {
    ServiceSpec {
        type_: Some("ClusterIP".to_owned()),
        selector: Some(names::selector(cluster)),
        ..ServiceSpec::default()
    }
}

fn data() -> ServicePort {
    port("data", names::DATA_PORT)
}

fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        // One port carries gRPC and HTTP/1.1; meshes that read this must not guess.
        app_protocol: Some(if name == "cluster" { "kubernetes.io/h2c" } else { "tcp" }.to_owned()),
        ..ServicePort::default()
    }
}
