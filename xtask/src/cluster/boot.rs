//! Brings a cluster up: files, network, programs, and then the wait until its nodes are Ready.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cluster::cgroup::Cgroups;
use crate::cluster::daemon::{self, Daemon, Program};
use crate::cluster::plan::{NodePlan, Plan};
use crate::cluster::{certificates, control_plane, network, node};
use crate::images::archive::{self, Archive, Content};
use crate::progress::Progress;
use crate::tools::KubernetesTools;
use crate::tools::run;

/// How long the API server, a containerd or the nodes may take; on a busy machine with two cores they take a third.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at something that is coming up.
const PAUSE: Duration = Duration::from_millis(100);

/// One boot: what is known and what has been started so far.
struct Boot<'a> {
    plan: &'a Plan,
    tools: &'a KubernetesTools,
    cgroups: Cgroups,
    daemons: Vec<Daemon>,
}

/// Starts everything and waits until the nodes are Ready and DNS answers.
///
/// # Errors
/// When a program ends or something does not become ready in time; what has been started is left to the caller.
pub(crate) fn start(
    plan: &Plan,
    door: TcpListener,
    tools: &KubernetesTools,
    progress: &Progress,
) -> Result<()> {
    let mut boot = Boot { plan, tools, cgroups: Cgroups::detect()?, daemons: Vec::new() };
    let pause = pause_image(tools)?;
    progress.step("writing certificates and configurations, making namespaces", || boot.prepare(&pause))?;
    progress.step("starting etcd and the API server", || boot.start_api_server(door))?;
    progress.step("starting controllers, scheduler, DNS and the nodes", || boot.start_the_rest(&pause))?;
    progress.step("waiting until the nodes are Ready and DNS answers", || boot.wait_until_ready())
}

/// Waits until a cluster that runs is Ready; finishes what an interrupted start left undone, mends cut links and wakes stopped programs.
///
/// # Errors
/// When it does not become Ready in time.
pub(crate) fn make_ready(plan: &Plan, tools: &KubernetesTools, progress: &Progress) -> Result<()> {
    let daemons = daemon::all(&plan.paths());
    let boot = Boot { plan, tools, cgroups: Cgroups::detect()?, daemons };
    progress.step(&format!("cluster {} runs: looking whether it is Ready", plan.name), || {
        for node in plan.every_node() {
            network::set_link(plan, &node.name, true)?;
        }
        boot.daemons.iter().for_each(Daemon::wake);
        boot.wait_until_ready()
    })
}

/// Starts again what has ended of a cluster's programs, each as it was started at first, and waits until all nodes are Ready; answers which that were.
///
/// # Errors
/// When one does not start, or its cluster does not become Ready in time.
pub(crate) fn mend(plan: &Plan, tools: &KubernetesTools, progress: &Progress) -> Result<Vec<String>> {
    let daemons = daemon::all(&plan.paths());
    let mut boot = Boot { plan, tools, cgroups: Cgroups::detect()?, daemons };
    let mut started = Vec::new();
    for program in programs(plan, tools)? {
        if boot.daemons.iter().any(|daemon| daemon.name == program.name && daemon.is_running()) {
            continue;
        }
        boot.daemons.retain(|daemon| daemon.name != program.name);
        started.push(program.name.clone());
        boot.start(program)?;
    }
    if let Some(ended) = boot.daemons.iter().find(|daemon| !daemon.is_running()) {
        bail!("{} has ended and cannot be started alone: `cluster up` starts the cluster anew", ended.name);
    }
    progress.step("waiting until the nodes are Ready and DNS answers", || boot.wait_until_ready())?;
    Ok(started)
}

/// All programs that can be started again, in the order of a start: not the way in from the host, whose listener is gone with it.
fn programs(plan: &Plan, tools: &KubernetesTools) -> Result<Vec<Program>> {
    let mut programs = vec![control_plane::etcd(plan)?, control_plane::api_server(plan, tools)];
    for node in plan.every_node() {
        programs.push(node::containerd(plan, &node)?);
    }
    programs.push(control_plane::controller_manager(plan, tools));
    programs.push(control_plane::scheduler(plan, tools));
    programs.push(control_plane::coredns(plan, tools));
    for node in plan.every_node() {
        programs.extend([node::kubelet(plan, &node, tools), node::proxy(plan, &node, tools)]);
    }
    Ok(programs)
}

impl Boot<'_> {
    fn prepare(&self, pause: &Archive) -> Result<()> {
        daemon::make_folders(&self.plan.paths())?;
        certificates::write_all(self.plan)?;
        control_plane::write_files(self.plan)?;
        fs::write(self.pause_path(), &pause.bytes)?;
        for node in self.plan.every_node() {
            node::write_files(self.plan, &node, &pause.reference.to_string())?;
            self.cgroups.create(&self.plan.paths().cgroup.join(&node.name))?;
        }
        network::create(self.plan)
    }

    fn start_api_server(&mut self, door: TcpListener) -> Result<()> {
        self.start(control_plane::etcd(self.plan)?)?;
        self.start(control_plane::api_server(self.plan, self.tools))?;
        self.start(control_plane::host_door(self.plan, door)?)?;
        for node in self.plan.every_node() {
            self.start(node::containerd(self.plan, &node)?)?;
        }
        self.wait("the API server", |boot| boot.kubectl(["get", "--raw", "/readyz"]).map(|_| ()))
    }

    fn start_the_rest(&mut self, pause: &Archive) -> Result<()> {
        self.start(control_plane::controller_manager(self.plan, self.tools))?;
        self.start(control_plane::scheduler(self.plan, self.tools))?;
        self.start(control_plane::coredns(self.plan, self.tools))?;
        for node in self.plan.every_node() {
            self.start_node(&node, pause)?;
        }
        Ok(())
    }

    fn start_node(&mut self, node: &NodePlan, pause: &Archive) -> Result<()> {
        let archive = self.pause_path();
        self.wait(&format!("containerd of {}", node.name), |boot| {
            node::import_image(boot.plan, node, Path::new(&archive))
        })?;
        if !node::has_image(self.plan, node, pause)? {
            bail!("{} did not keep the image {} that its pods begin with", node.name, pause.reference);
        }
        self.start(node::kubelet(self.plan, node, self.tools))?;
        self.start(node::proxy(self.plan, node, self.tools))
    }

    fn wait_until_ready(&self) -> Result<()> {
        let objects = self.plan.paths().state.join("dns.json");
        self.wait("the API server to take the DNS Service", |boot| {
            boot.kubectl(["apply", "--filename", &objects.display().to_string()]).map(|_| ())
        })?;
        self.wait("CoreDNS", Self::probe_dns)?;
        self.wait("the nodes to be Ready", |boot| {
            let nodes: Value = serde_json::from_str(&boot.kubectl(["get", "nodes", "--output", "json"])?)?;
            let ready = ready_nodes(&nodes).len();
            let wanted = usize::from(boot.plan.nodes);
            if ready < wanted { bail!("{ready} of {wanted} nodes are Ready") } else { Ok(()) }
        })?;
        // Pods cannot be made before their namespace has this account.
        self.wait("the default service account", |boot| {
            boot.kubectl(["get", "serviceaccount", "default", "--namespace", "default"]).map(|_| ())
        })
    }

    /// kubectl is the HTTP client at hand: it fetches a path from any server.
    fn probe_dns(&self) -> Result<()> {
        let server = format!("--server=http://{}:8181", self.plan.control_plane());
        let mut command = network::enter(&self.plan.control_plane_namespace(), &self.tools.kubectl);
        command.env("KUBECONFIG", "/dev/null").args([
            &server,
            "--request-timeout=5s",
            "get",
            "--raw",
            "/ready",
        ]);
        run::output(&mut command).map(|_| ())
    }

    fn start(&mut self, program: Program) -> Result<()> {
        self.daemons.push(daemon::start(program, &self.plan.paths(), &self.cgroups)?);
        Ok(())
    }

    /// Looks until `look` succeeds; gives up when a program has ended or the patience has.
    fn wait(&self, what: &str, look: impl Fn(&Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        loop {
            let Err(error) = look(self) else { return Ok(()) };
            for daemon in &self.daemons {
                daemon.check(&self.plan.paths())?;
            }
            if began.elapsed() > PATIENCE {
                return Err(error).with_context(|| format!("waited {} s for {what}", PATIENCE.as_secs()));
            }
            thread::sleep(PAUSE);
        }
    }

    fn kubectl<const N: usize>(&self, arguments: [&str; N]) -> Result<String> {
        let mut command = Command::new(&self.tools.kubectl);
        command.arg("--kubeconfig").arg(self.plan.paths().kubeconfig()).arg("--request-timeout=10s");
        run::output(command.args(arguments))
    }

    fn pause_path(&self) -> std::path::PathBuf {
        self.plan.paths().state.join("pause.tar")
    }
}

/// Names of those nodes in a `NodeList` whose condition Ready is True.
pub(crate) fn ready_nodes(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ready = |node: &&Value| {
        let conditions = node["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
    };
    items
        .iter()
        .filter(is_ready)
        .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
        .collect()
}

/// The image in which every pod begins: one static program that waits.
fn pause_image(tools: &KubernetesTools) -> Result<Archive> {
    let mut content = Content::new(&["/pause"]);
    content.add_file("/pause", &tools.components.join("pause"), 0o755)?;
    archive::pack("pause", &content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_nodes_whose_condition_is_true_are_ready() {
        let node = |name: &str, status: &str| {
            json!({"metadata": {"name": name}, "status": {"conditions": [
                {"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": status}]}})
        };
        let list = json!({"items": [node("a", "True"), node("b", "Unknown"), {"metadata": {"name": "c"}}]});

        assert_eq!(ready_nodes(&list), ["a"]);
    }
}
