//! The names, addresses and paths of one local cluster: pure arithmetic on its name, its index and its size.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// How many clusters fit side by side: each takes one /24 and two /16 out of 10.0.0.0/8, and one port of the host.
pub(crate) const MOST_CLUSTERS: u8 = 32;
/// How many nodes a cluster may have; each costs about 150 MB.
pub(crate) const MOST_NODES: u8 = 9;

/// Second bytes of the networks of the cluster with index 0.
const NODE_NETWORK: u8 = 80;
const POD_NETWORK: u8 = 112;
const SERVICE_NETWORK: u8 = 144;
/// Last byte of the first node's address.
const FIRST_NODE: u8 = 11;
/// The port on the host's loopback that leads to the API server of the cluster with index 0.
const FIRST_HOST_PORT: u16 = 16_443;
/// Names become part of socket paths, which hold 107 bytes, and of cgroups and namespaces.
const LONGEST_NAME: usize = 20;

/// What a cluster is: everything else about it follows from these three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) name: String,
    /// Tells clusters on one machine apart: no two have the same.
    pub(crate) index: u8,
    pub(crate) nodes: u8,
}

/// One node of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodePlan {
    /// `node-1`, `node-2`, ...
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    /// The range of its pods' addresses, a /24.
    pub(crate) pods: String,
    /// Its network namespace.
    pub(crate) namespace: String,
}

/// Checks a cluster's name.
///
/// # Errors
/// Says what names may look like.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !letters || name.len() > LONGEST_NAME || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        bail!("cluster name {name:?}: use 1 to {LONGEST_NAME} of a-z, 0-9 and '-', beginning with a letter");
    }
    Ok(())
}

impl Plan {
    pub(crate) fn new(name: &str, index: u8, nodes: u8) -> Result<Self> {
        check_name(name)?;
        if nodes == 0 || nodes > MOST_NODES {
            bail!("{nodes} nodes: a local cluster has 1 to {MOST_NODES}");
        }
        if index >= MOST_CLUSTERS {
            bail!(
                "{MOST_CLUSTERS} clusters run on this machine already; stop one with `cluster down --name NAME`"
            );
        }
        Ok(Self { name: name.to_owned(), index, nodes })
    }

    pub(crate) fn node(&self, number: u8) -> NodePlan {
        let name = format!("node-{number}");
        NodePlan {
            address: Ipv4Addr::new(10, NODE_NETWORK + self.index, 0, FIRST_NODE + number - 1),
            pods: format!("10.{}.{number}.0/24", POD_NETWORK + self.index),
            namespace: format!("{}{name}", namespace_prefix(&self.name)),
            name,
        }
    }

    pub(crate) fn every_node(&self) -> impl Iterator<Item = NodePlan> + '_ {
        (1..=self.nodes).map(|number| self.node(number))
    }

    /// Where the API server listens, inside the control plane's namespace.
    pub(crate) fn control_plane(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, NODE_NETWORK + self.index, 0, 1)
    }

    pub(crate) fn control_plane_namespace(&self) -> String {
        format!("{}control-plane", namespace_prefix(&self.name))
    }

    /// The range of all pods of the cluster.
    pub(crate) fn pods(&self) -> String {
        format!("10.{}.0.0/16", POD_NETWORK + self.index)
    }

    pub(crate) fn services(&self) -> String {
        format!("10.{}.0.0/16", SERVICE_NETWORK + self.index)
    }

    /// The ClusterIP of the Service `kubernetes`.
    pub(crate) fn api_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, SERVICE_NETWORK + self.index, 0, 1)
    }

    /// The ClusterIP of the Service `kube-dns`.
    pub(crate) fn dns_service(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, SERVICE_NETWORK + self.index, 0, 10)
    }

    /// The API server as seen from the control plane and the nodes.
    pub(crate) fn inner_server(&self) -> String {
        format!("https://{}:6443", self.control_plane())
    }

    /// The port on the host's loopback that leads to the API server.
    pub(crate) fn host_port(&self) -> u16 {
        FIRST_HOST_PORT + u16::from(self.index)
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::new(&self.name)
    }
}

/// Every namespace of a cluster begins with this; the dot cannot be part of a cluster's name.
pub(crate) fn namespace_prefix(name: &str) -> String {
    format!("groupcache-{name}.")
}

/// The folders of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Configurations, keys, etcd's data, the nodes' containers. Gone after `down`.
    pub(crate) state: PathBuf,
    /// Sockets and pid files. Gone after `down`.
    pub(crate) run: PathBuf,
    /// One log per program, and the API server's audit log. Gone after `down`, unless they are to be kept.
    pub(crate) logs: PathBuf,
    /// The logs of the cluster that ran before under this name.
    pub(crate) previous_logs: PathBuf,
    /// Below each cgroup hierarchy.
    pub(crate) cgroup: PathBuf,
}

impl Paths {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            state: Path::new("/var/lib/groupcache").join(name),
            run: Path::new("/run/groupcache").join(name),
            logs: Path::new("/var/log/groupcache").join(name),
            previous_logs: Path::new("/var/log/groupcache").join(format!("{name}.previous")),
            cgroup: Path::new("groupcache").join(name),
        }
    }

    /// The plan of the cluster, written first and read by every later command.
    pub(crate) fn plan(&self) -> PathBuf {
        self.state.join("cluster.json")
    }

    /// For users: leads to the API server through the host's loopback.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.state.join("kubeconfig")
    }

    pub(crate) fn containerd_socket(&self, node: &str) -> PathBuf {
        self.run.join(node).join("containerd.sock")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_clusters_share_a_network_or_a_port() {
        let mut networks = BTreeSet::new();
        let mut ports = BTreeSet::new();
        for index in 0..MOST_CLUSTERS {
            let plan = Plan::new("some", index, 2).unwrap();
            networks.extend([plan.control_plane().octets()[1], plan.dns_service().octets()[1]]);
            networks.insert(plan.pods().split('.').nth(1).unwrap().parse().unwrap());
            ports.insert(plan.host_port());
        }
        assert_eq!(networks.len(), 3 * usize::from(MOST_CLUSTERS));
        assert_eq!(ports.len(), usize::from(MOST_CLUSTERS));
    }

    #[test]
    fn a_node_has_its_own_address_range_and_namespace() {
        let plan = Plan::new("demo", 1, 2).unwrap();

        let nodes: Vec<NodePlan> = plan.every_node().collect();

        assert_eq!(nodes[0].address, Ipv4Addr::new(10, 81, 0, 11));
        assert_eq!(nodes[1].address, Ipv4Addr::new(10, 81, 0, 12));
        assert_eq!(nodes[1].pods, "10.113.2.0/24");
        assert_eq!(nodes[1].namespace, "groupcache-demo.node-2");
    }

    #[test]
    fn a_cluster_named_like_a_node_of_another_shares_no_namespace_with_it() {
        assert!(
            !Plan::new("a-1", 0, 1).unwrap().control_plane_namespace().starts_with(&namespace_prefix("a"))
        );
    }

    #[test]
    fn names_that_would_break_a_path_are_refused() {
        for name in ["", "A", "1a", "a/b", "..", "a.b", "a_b", "a-name-that-is-too-long"] {
            assert!(check_name(name).is_err(), "{name:?} was let pass");
        }
        for name in ["a", "groupcache", "test-2"] {
            check_name(name).unwrap();
        }
    }

    #[test]
    fn a_cluster_has_at_least_one_node_and_not_too_many() {
        assert!(Plan::new("a", 0, 0).is_err());
        assert!(Plan::new("a", 0, MOST_NODES + 1).is_err());
        assert!(Plan::new("a", MOST_CLUSTERS, 1).is_err());
    }
}
