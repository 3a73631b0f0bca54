//! The programs of one node and their configurations: containerd, kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::daemon::Program;
use crate::cluster::plan::{NodePlan, Plan};
use crate::images::archive::Archive;
use crate::tools::KubernetesTools;
use crate::tools::host;
use crate::tools::run;

/// Where Debian keeps the CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";

/// Writes the files that one node's programs read.
///
/// # Errors
/// When one cannot be written.
pub(crate) fn write_files(plan: &Plan, node: &NodePlan, pause_image: &str) -> Result<()> {
    let folder = folder(plan, node);
    let run_folder = plan.paths().run.join(&node.name);
    for sub in [folder.join("cni"), folder.join("cert"), folder.join("pod-logs"), run_folder] {
        fs::create_dir_all(&sub).with_context(|| format!("could not create {}", sub.display()))?;
    }
    let snapshotter = snapshotter(&folder);
    fs::write(folder.join("containerd.toml"), containerd_config(plan, node, pause_image, snapshotter))?;
    fs::write(folder.join("cni/10-pods.conflist"), serde_json::to_vec_pretty(&cni_config(plan, node))?)?;
    fs::write(folder.join("kubelet.json"), serde_json::to_vec_pretty(&kubelet_config(plan, node))?)?;
    fs::write(folder.join("kube-proxy.json"), serde_json::to_vec_pretty(&proxy_config(plan, node))?)?;
    Ok(())
}

pub(crate) fn containerd(plan: &Plan, node: &NodePlan) -> Result<Program> {
    let path = host::find_program("containerd").context("containerd is not installed")?;
    let config = folder(plan, node).join("containerd.toml");
    Ok(Program::new(format!("containerd-{}", node.name), &node.namespace, path)
        .argument("--config")
        .argument(config))
}

pub(crate) fn kubelet(plan: &Plan, node: &NodePlan, tools: &KubernetesTools) -> Program {
    let folder = folder(plan, node);
    let kubeconfig = plan.paths().state.join(format!("{}.kubeconfig", node.name));
    Program::new(format!("kubelet-{}", node.name), &node.namespace, tools.components.join("kubelet"))
        .argument(format!("--config={}", folder.join("kubelet.json").display()))
        .argument(format!("--kubeconfig={}", kubeconfig.display()))
        .argument(format!("--hostname-override={}", node.name))
        .argument(format!("--node-ip={}", node.address))
        .argument(format!("--root-dir={}", folder.join("kubelet").display()))
        .argument(format!("--cert-dir={}", folder.join("cert").display()))
}

pub(crate) fn proxy(plan: &Plan, node: &NodePlan, tools: &KubernetesTools) -> Program {
    let config = folder(plan, node).join("kube-proxy.json");
    Program::new(format!("kube-proxy-{}", node.name), &node.namespace, tools.components.join("kube-proxy"))
        .argument(format!("--config={}", config.display()))
}

/// Puts an image, packed as a tar, into a node's store of images.
///
/// # Errors
/// When containerd refuses it.
pub(crate) fn import_image(plan: &Plan, node: &NodePlan, archive: &Path) -> Result<()> {
    run::output(ctr(plan, node).args(["images", "import"]).arg(archive)).map(|_| ())
}

/// Whether a node has this very image under its name.
///
/// # Errors
/// When containerd does not answer.
pub(crate) fn has_image(plan: &Plan, node: &NodePlan, archive: &Archive) -> Result<bool> {
    let list = run::output(ctr(plan, node).args(["images", "list"]))?;
    Ok(lists(&list, archive))
}

/// Reads the table of `ctr images list`: name, type, digest, and more.
fn lists(table: &str, archive: &Archive) -> bool {
    let name = archive.reference.to_string();
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.any(|row| row.first() == Some(&name.as_str()) && row.get(2) == Some(&archive.digest.as_str()))
}

fn ctr(plan: &Plan, node: &NodePlan) -> Command {
    let socket = plan.paths().containerd_socket(&node.name);
    let mut command = Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]);
    command
}

/// Where a node keeps its files.
fn folder(plan: &Plan, node: &NodePlan) -> PathBuf {
    plan.paths().state.join(&node.name)
}

/// Overlayfs cannot lie upon overlayfs, which is what containers have for a root: there files are copied instead.
fn snapshotter(folder: &Path) -> &'static str {
    let probe = folder.join("overlay-probe");
    let parts = ["lower", "upper", "work", "merged"].map(|part| probe.join(part));
    let made = parts.iter().all(|part| fs::create_dir_all(part).is_ok());
    let [lower, upper, work, merged] = parts.map(|part| part.display().to_string());
    let options = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let mount = ["-t", "overlay", "overlay", "-o", &options, &merged];
    let works = made && run::output(Command::new("mount").args(mount)).is_ok();
    if works {
        run::output(Command::new("umount").arg(&merged)).ok();
    }
    fs::remove_dir_all(&probe).ok();
    if works { "overlayfs" } else { "native" }
}

fn containerd_config(plan: &Plan, node: &NodePlan, pause_image: &str, snapshotter: &str) -> String {
    let folder = folder(plan, node).display().to_string();
    let run_folder = plan.paths().run.join(&node.name).display().to_string();
    let socket = plan.paths().containerd_socket(&node.name).display().to_string();
    format!(
        r#"version = 2
root = "{folder}/containerd"
state = "{run_folder}/containerd"
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
]

[grpc]
address = "{socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause_image}"
# Without CAP_SYS_RESOURCE nothing may lower an oom score, and no pod would start.
restrict_oom_score_adj = true
tolerate_missing_hugetlb_controller = true
disable_hugetlb_controller = true
# Profiles would be loaded into the host's kernel and stay there.
disable_apparmor = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{folder}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{run_folder}/runc"
SystemdCgroup = false
"#
    )
}

/// Pods hang on links of their own, routed rather than bridged: Services then work without the kernel's bridge filter.
fn cni_config(plan: &Plan, node: &NodePlan) -> Value {
    json!({
        "cniVersion": "0.4.0",
        "name": node.namespace,
        "plugins": [
            {
                "type": "ptp",
                // Pods see each other's real addresses, and there is no world outside to hide them from.
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "dataDir": folder(plan, node).join("addresses"),
                    "ranges": [[{"subnet": node.pods}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

fn kubelet_config(plan: &Plan, node: &NodePlan) -> Value {
    let folder = folder(plan, node);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", plan.paths().containerd_socket(&node.name).display()),
        "address": node.address,
        "healthzBindAddress": node.address,
        // It listens inside its namespace only.
        "authentication": {"anonymous": {"enabled": true}, "webhook": {"enabled": false}},
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", plan.paths().cgroup.join(&node.name).display()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "clusterDNS": [plan.dns_service()],
        "clusterDomain": "cluster.local",
        // Names outside of the cluster are not for its pods.
        "resolvConf": "/dev/null",
        "podLogsDir": folder.join("pod-logs"),
        "volumePluginDir": folder.join("volume-plugins"),
        "nodeStatusUpdateFrequency": "4s",
        // A change of a Secret or ConfigMap reaches its pods within this; a minute unless told.
        "syncFrequency": "5s",
        // The disk is the host's and may be nearly full; images are ours and must not be collected.
        "evictionHard": {"memory.available": "10Mi", "nodefs.available": "0.1%", "imagefs.available": "0.1%",
                         "nodefs.inodesFree": "0.1%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 200,
        "registryPullQPS": 0,
        "logging": {"flushFrequency": "1s"},
    })
}

fn proxy_config(plan: &Plan, node: &NodePlan) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {
            "kubeconfig": plan.paths().state.join("kube-proxy.kubeconfig"),
        },
        "hostnameOverride": node.name,
        "bindAddress": node.address,
        "healthzBindAddress": format!("{}:10256", node.address),
        "metricsBindAddress": "127.0.0.1:10249",
        "mode": "iptables",
        // What comes from elsewhere, like a test in the control plane's namespace, is masqueraded and so finds back.
        "clusterCIDR": plan.pods(),
        // It may not write these sysctls.
        "conntrack": {"maxPerCore": 0, "min": 0},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::images::archive::{self, Content};

    #[test]
    fn an_image_is_there_only_with_its_name_and_its_digest() {
        let archive = archive::pack_with_tag("python", "3", &Content::new(&["/python"])).unwrap();
        let row = |name: &str, digest: &str| {
            format!("REF TYPE DIGEST SIZE\n{name} application/x {digest} 1.0 MiB\n")
        };

        assert!(lists(&row("groupcache.dev/python:3", &archive.digest), &archive));
        assert!(!lists(&row("groupcache.dev/python:3", "sha256:00"), &archive));
        assert!(!lists(&row("groupcache.dev/python:4", &archive.digest), &archive));
    }

    #[test]
    fn two_nodes_share_no_folder_socket_or_cgroup() {
        let plan = Plan::new("some", 0, 2).unwrap();
        let (one, two) = (plan.node(1), plan.node(2));

        assert_ne!(kubelet_config(&plan, &one)["cgroupRoot"], kubelet_config(&plan, &two)["cgroupRoot"]);
        let text = containerd_config(&plan, &one, "pause", "overlayfs");
        assert!(text.contains("/node-1/containerd.sock"));
        assert!(!text.contains("node-2"));
        assert!(!cni_config(&plan, &one).to_string().contains("node-2"));
    }
}
