//! What the commands need on this machine, and how what is missing gets there.

pub(crate) mod apt;
pub(crate) mod cargo;
pub(crate) mod go;
pub(crate) mod host;
pub(crate) mod interrupt;
pub(crate) mod run;

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::tools::apt::Package;

/// Where the programs of a local Kubernetes are.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesTools {
    /// kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, kubelet and pause.
    pub(crate) components: PathBuf,
    pub(crate) kubectl: PathBuf,
    pub(crate) coredns: PathBuf,
    pub(crate) helm: PathBuf,
}

/// What a local cluster takes from Debian.
const CLUSTER_PACKAGES: &[Package] = &[
    Package { name: "etcd-server", probe: "etcd", why: "keeps the cluster's objects" },
    Package { name: "containerd", probe: "containerd", why: "runs the nodes' containers" },
    Package { name: "runc", probe: "runc", why: "starts each container" },
    Package { name: "containernetworking-plugins", probe: "/usr/lib/cni/ptp", why: "connects pods" },
    Package { name: "iptables", probe: "iptables", why: "carries Services, inside the nodes' namespaces" },
    Package { name: "conntrack", probe: "conntrack", why: "lets kube-proxy drop stale connections" },
    Package { name: "socat", probe: "socat", why: "carries kubectl port-forward" },
    Package { name: "iproute2", probe: "ip", why: "makes the network namespaces" },
    Package { name: "util-linux", probe: "nsenter", why: "enters the network namespaces" },
    Package { name: "mount", probe: "umount", why: "cleans up the nodes' mounts" },
    Package { name: "procps", probe: "sysctl", why: "lets the nodes forward packets" },
];

/// What tests run beside our own programs.
const TEST_PACKAGES: &[Package] = &[
    Package { name: "python3", probe: "python3", why: "runs the loader of docs/your-own-loader.md" },
    Package { name: "curl", probe: "curl", why: "runs the commands that the pages show" },
    Package { name: "procps", probe: "kill", why: "sends signals to programs under test" },
];

/// What scenarios take that cut a node off.
const NETWORK_PACKAGES: &[Package] = &[
    Package { name: "iproute2", probe: "ip", why: "makes the network namespaces" },
    Package { name: "util-linux", probe: "nsenter", why: "starts nodes in the network namespaces" },
    Package { name: "iptables", probe: "iptables-restore", why: "cuts a node off from its peers" },
];

const SKOPEO: Package =
    Package { name: "skopeo", probe: "skopeo", why: "pushes images to registries, without Docker" };

const REGISTRY: Package = Package {
    name: "docker-registry",
    probe: "docker-registry",
    why: "is the registry that a test pushes to",
};

const PROMTOOL: Package = Package {
    name: "prometheus",
    probe: "promtool",
    why: "brings promtool, which judges the nodes' metrics",
};

/// Makes sure that the programs of others that tests start are here.
///
/// # Errors
/// When one is missing and cannot be installed.
pub(crate) fn ensure_test_tools(progress: &Progress) -> Result<()> {
    apt::ensure(TEST_PACKAGES, progress).map(drop)
}

/// Makes sure that namespaces and packet filters can be made.
///
/// # Errors
/// When a program for that is missing and cannot be installed.
pub(crate) fn ensure_network_tools(progress: &Progress) -> Result<()> {
    apt::ensure(NETWORK_PACKAGES, progress).map(drop)
}

/// Makes sure that skopeo is here.
///
/// # Errors
/// When it is missing and cannot be installed.
pub(crate) fn ensure_skopeo(progress: &Progress) -> Result<()> {
    apt::ensure(&[SKOPEO], progress).map(drop)
}

/// Makes sure that a registry can be started here.
///
/// # Errors
/// When it is missing and cannot be installed.
pub(crate) fn ensure_registry(progress: &Progress) -> Result<()> {
    let installed = apt::ensure(&[REGISTRY], progress)?;
    // The test starts its own.
    let services: &[&str] = if installed.is_empty() { &[] } else { &["docker-registry.service"] };
    apt::disable_services(services)
}

/// Makes sure that promtool is here, which judges metrics as Prometheus does.
///
/// # Errors
/// When it is missing and cannot be installed.
pub(crate) fn ensure_promtool(progress: &Progress) -> Result<()> {
    let installed = apt::ensure(&[PROMTOOL], progress)?;
    // Only the program beside it is wanted.
    let services: &[&str] = if installed.is_empty() { &[] } else { &["prometheus.service"] };
    apt::disable_services(services)
}

/// Makes sure that everything a local cluster needs is here: root on Linux, Debian's packages, Kubernetes' programs.
///
/// # Errors
/// When this machine cannot run a local cluster, or an install or a build fails; the text says what to do instead.
pub(crate) fn ensure_cluster_tools(progress: &Progress) -> Result<KubernetesTools> {
    host::require_root_on_linux()?;
    let installed = apt::ensure(CLUSTER_PACKAGES, progress).with_context(host::instead)?;
    // The cluster starts its own; what the machine had before is left as it was.
    let services = [("etcd-server", "etcd.service"), ("containerd", "containerd.service")];
    let new = services.iter().filter(|(package, _)| installed.contains(package));
    apt::disable_services(&new.map(|(_, service)| *service).collect::<Vec<_>>())?;
    ensure_kubernetes(progress)
}

/// Makes sure that Kubernetes' own programs, CoreDNS and Helm are built; they are kept by version in the user's cache.
/// kubectl and helm work on any system with Go.
///
/// # Errors
/// When Go is missing or too old, or a build fails.
pub(crate) fn ensure_kubernetes(progress: &Progress) -> Result<KubernetesTools> {
    let components = go::ensure_built(&go::KUBERNETES, progress)?;
    let coredns = go::ensure_built(&go::COREDNS, progress)?;
    let helm = go::ensure_built(&go::HELM, progress)?;
    Ok(KubernetesTools {
        kubectl: components.join("kubectl"),
        coredns: coredns.join("coredns"),
        helm: helm.join("helm"),
        components,
    })
}
