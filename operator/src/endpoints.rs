//! The endpoints of a cluster's members Service: several slices merged into one list. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};

use crate::names;

/// One pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The pod's name.
    pub name: String,
    /// The pod's uid.
    pub pod_uid: String,
    /// Host and port of its cluster port.
    pub address: String,
    /// The zone it runs in; empty: unknown.
    pub zone: String,
    /// It answers its readiness probe. (`ready` says nothing on a Service that publishes addresses that are not ready.)
    pub serving: bool,
    /// It is being stopped.
    pub terminating: bool,
}

/// The pods in these slices, one entry each, sorted by name.
///
/// An endpoint may stand in two slices while the slices are rearranged, and in one per address family. It terminates if any
/// says so, because that is never taken back.
#[must_use]
pub fn endpoints(slices: &[EndpointSlice]) -> Vec<Endpoint> {
    let mut by_uid: BTreeMap<String, Endpoint> = BTreeMap::new();
    for slice in slices {
        let port = cluster_port(slice);
        for endpoint in slice.endpoints.iter().filter_map(|e| read(e, port)) {
            by_uid
                .entry(endpoint.pod_uid.clone())
                .and_modify(|held| {
                    held.serving |= endpoint.serving;
                    held.terminating |= endpoint.terminating;
                    // The lower address, so that two families do not take turns.
                    held.address = held.address.clone().min(endpoint.address.clone());
                })
                .or_insert(endpoint);
        }
    }
    let mut endpoints: Vec<Endpoint> = by_uid.into_values().collect();
    endpoints.sort_by(|a, b| (&a.name, &a.pod_uid).cmp(&(&b.name, &b.pod_uid)));
    endpoints
}

fn cluster_port(slice: &EndpointSlice) -> i32 {
    let ports = slice.ports.iter().flatten();
    let named = ports.filter(|port| port.name.as_deref() == Some("cluster")).find_map(|port| port.port);
    named.unwrap_or(names::CLUSTER_PORT)
}

fn read(endpoint: &SliceEndpoint, port: i32) -> Option<Endpoint> {
    let pod = endpoint.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"))?;
    let host = endpoint.addresses.first()?;
    let conditions = endpoint.conditions.as_ref();
    Some(Endpoint {
        name: pod.name.clone()?,
        pod_uid: pod.uid.clone()?,
        address: if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") },
        zone: endpoint.zone.clone().unwrap_or_default(),
        serving: conditions.and_then(|c| c.serving).unwrap_or(true),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn slice(endpoints: &serde_json::Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": {"name": "x"},
            "ports": [{"name": "cluster", "port": 8081}],
            "endpoints": endpoints,
        }))
        .expect("a slice")
    }

    fn pod(name: &str, address: &str, serving: bool, terminating: bool) -> serde_json::Value {
        json!({
            "addresses": [address],
            "conditions": {"ready": true, "serving": serving, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": name, "uid": format!("uid-of-{name}")},
            "zone": "west",
        })
    }

    #[test]
    fn an_endpoint_in_two_slices_is_one() {
        let both = [
            slice(&json!([pod("a", "10.0.0.1", false, false), pod("b", "10.0.0.2", true, false)])),
            slice(&json!([pod("a", "10.0.0.1", true, false)])),
        ];
        let read = endpoints(&both);
        assert_eq!(read.len(), 2);
        assert_eq!(
            read[0],
            Endpoint {
                name: "a".into(),
                pod_uid: "uid-of-a".into(),
                address: "10.0.0.1:8081".into(),
                zone: "west".into(),
                serving: true,
                terminating: false,
            }
        );
    }

    #[test]
    fn two_address_families_give_one_address_whatever_the_order() {
        let four = slice(&json!([pod("a", "10.0.0.1", true, false)]));
        let six = slice(&json!([pod("a", "fd00::1", true, false)]));
        let one = endpoints(&[four.clone(), six.clone()]);
        assert_eq!(one, endpoints(&[six, four]));
        assert_eq!(one[0].address, "10.0.0.1:8081");
        assert_eq!(
            endpoints(&[slice(&json!([pod("a", "fd00::1", true, false)]))])[0].address,
            "[fd00::1]:8081"
        );
    }

    #[test]
    fn whoever_terminates_in_one_slice_terminates() {
        let both = [
            slice(&json!([pod("a", "10.0.0.1", true, false)])),
            slice(&json!([pod("a", "10.0.0.1", true, true)])),
        ];
        assert!(endpoints(&both)[0].terminating);
    }

    #[test]
    fn what_is_no_pod_or_has_no_address_is_no_member() {
        let strange = json!([
            {"addresses": ["10.0.0.9"]},
            {"addresses": [], "targetRef": {"kind": "Pod", "name": "a", "uid": "u"}},
            {"addresses": ["10.0.0.9"], "targetRef": {"kind": "Node", "name": "a", "uid": "u"}},
        ]);
        assert!(endpoints(&[slice(&strange)]).is_empty());
    }
}
