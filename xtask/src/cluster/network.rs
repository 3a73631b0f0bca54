//! Namespaces, links and routes: one namespace for the control plane with a bridge, one for each node.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::plan::{self, NodePlan, Plan};
use crate::tools::host;
use crate::tools::run;

/// Where iproute2 keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
/// The bridge in the control plane's namespace; the nodes' links are its ports.
const BRIDGE: &str = "nodes";

/// Makes the namespaces of a cluster and connects them. Nothing of the host's own network changes.
///
/// # Errors
/// When `ip` fails.
pub(crate) fn create(plan: &Plan) -> Result<()> {
    let center = plan.control_plane_namespace();
    ip(["netns", "add", &center])?;
    inside(&center, ["link", "set", "lo", "up"])?;
    inside(&center, ["link", "add", BRIDGE, "type", "bridge"])?;
    inside(&center, ["address", "add", &format!("{}/24", plan.control_plane()), "dev", BRIDGE])?;
    inside(&center, ["link", "set", BRIDGE, "up"])?;
    for node in plan.every_node() {
        connect(plan, &node)?;
    }
    // From the control plane, Services are reached through the first node, whose kube-proxy translates them.
    let gateway = plan.node(1).address.to_string();
    inside(&center, ["route", "add", &plan.services(), "via", &gateway])?;
    for node in plan.every_node() {
        inside(&center, ["route", "add", &node.pods, "via", &node.address.to_string()])?;
        for other in plan.every_node().filter(|other| other.name != node.name) {
            inside(&node.namespace, ["route", "add", &other.pods, "via", &other.address.to_string()])?;
        }
    }
    Ok(())
}

fn connect(plan: &Plan, node: &NodePlan) -> Result<()> {
    let center = plan.control_plane_namespace();
    let space = &node.namespace;
    ip(["netns", "add", space])?;
    inside(space, ["link", "set", "lo", "up"])?;
    // The link's end at the bridge has the node's name, so that cutting a node off reads like what it is.
    inside(&center, ["link", "add", &node.name, "type", "veth", "peer", "name", "eth0", "netns", space])?;
    inside(&center, ["link", "set", &node.name, "master", BRIDGE, "up"])?;
    inside(space, ["address", "add", &format!("{}/24", node.address), "dev", "eth0"])?;
    inside(space, ["link", "set", "eth0", "up"])?;
    inside(space, ["route", "add", "default", "via", &plan.control_plane().to_string()])?;
    run::output(enter(space, "sysctl").args(["-q", "-w", "net.ipv4.ip_forward=1"])).map(|_| ())
}

/// Cuts a node's link, or mends it.
///
/// # Errors
/// When `ip` fails, for example because the cluster does not run.
pub(crate) fn set_link(plan: &Plan, node: &str, up: bool) -> Result<()> {
    inside(&plan.control_plane_namespace(), ["link", "set", node, if up { "up" } else { "down" }])
}

/// A command that runs inside a namespace. nsenter, not `ip netns exec`: that one mounts /sys anew and hides the cgroups.
pub(crate) fn enter(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={NAMESPACES}/{namespace}")).arg("--").arg(resolved(program.as_ref()));
    command
}

/// The namespaces of a cluster that exist, whatever its plan says.
pub(crate) fn existing(name: &str) -> Vec<String> {
    let prefix = plan::namespace_prefix(name);
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with(&prefix)).collect()
}

/// Deletes a cluster's namespaces, and with them their links, routes and rules.
///
/// # Errors
/// When one cannot be deleted.
pub(crate) fn delete(name: &str) -> Result<()> {
    for namespace in existing(name) {
        ip(["netns", "delete", &namespace])
            .with_context(|| format!("could not delete the network namespace {namespace}"))?;
    }
    let folder = Path::new(NAMESPACES);
    let is_empty = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty {
        // `ip netns add` mounts this folder onto itself; after the last namespace the mount has no use.
        run::output(Command::new("umount").arg(folder)).ok();
        fs::remove_dir(folder).ok();
    }
    Ok(())
}

/// nsenter searches the caller's PATH, which may lack the system's folders.
fn resolved(program: &OsStr) -> PathBuf {
    program.to_str().and_then(host::find_program).unwrap_or_else(|| PathBuf::from(program))
}

fn inside<const N: usize>(namespace: &str, arguments: [&str; N]) -> Result<()> {
    run::output(ip_command().args(["-n", namespace]).args(arguments)).map(|_| ())
}

fn ip<const N: usize>(arguments: [&str; N]) -> Result<()> {
    run::output(ip_command().args(arguments)).map(|_| ())
}

fn ip_command() -> Command {
    Command::new(resolved(OsStr::new("ip")))
}
