//! A real Kubernetes of several nodes on this machine, in network namespaces: up, down, and what to do with it.

mod boot;
mod certificates;
mod cgroup;
pub(crate) mod command;
mod control_plane;
mod daemon;
mod door;
mod kernel;
mod network;
mod node;
pub(crate) mod plan;
mod registry;
mod status;
mod sweep;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::plan::{NodePlan, Plan};
use crate::images::archive::Archive;
use crate::progress::Progress;
use crate::tools::{self, KubernetesTools};

/// The name of the cluster when none is given.
pub(crate) const DEFAULT_NAME: &str = "groupcache";
/// How many nodes a new cluster has when no number is given.
pub(crate) const DEFAULT_NODES: u8 = 2;

/// A local cluster that is up.
#[derive(Debug)]
pub(crate) struct Cluster {
    plan: Plan,
    tools: KubernetesTools,
}

impl Cluster {
    /// Brings a cluster up, or finds it up. What is left of one that crashed is removed first.
    ///
    /// # Errors
    /// When this machine cannot run one, a running one has another number of nodes, or a part does not come up;
    /// then nothing but the logs stays.
    pub(crate) fn up(name: &str, nodes: Option<u8>, progress: &Progress) -> Result<Self> {
        plan::check_name(name)?;
        // Fails early on a bad number, before minutes of building.
        Plan::new(name, 0, nodes.unwrap_or(DEFAULT_NODES))?;
        let tools = tools::ensure_cluster_tools(progress)?;
        let _lock = registry::lock(name, progress)?;
        if let Some(plan) = registry::find(name)?.filter(status::is_whole) {
            if let Some(wanted) = nodes.filter(|wanted| *wanted != plan.nodes) {
                bail!("cluster {name} runs with {} nodes, not {wanted}; `cluster down` it first", plan.nodes);
            }
            progress.logs_are_in(&plan.paths().logs);
            boot::make_ready(&plan, &tools, progress)?;
            return Ok(Self { plan, tools });
        }
        if sweep::has_traces(name) {
            progress.say(&format!("cluster {name} is not whole: it is removed and started anew"));
            sweep::stop(name, progress)?;
        }
        Self::boot(name, nodes.unwrap_or(DEFAULT_NODES), tools, progress)
    }

    fn boot(name: &str, nodes: u8, tools: KubernetesTools, progress: &Progress) -> Result<Self> {
        let (plan, door) = registry::register(name, nodes)?;
        let paths = plan.paths();
        progress.logs_are_in(&paths.logs);
        let booted = set_logs_aside(&paths)
            .and_then(|()| kernel::note(name))
            .and_then(|()| boot::start(&plan, door, &tools, progress));
        if let Err(error) = booted {
            // A half-built cluster would only cost memory; its logs tell what happened.
            sweep::stop(name, progress)
                .context(format!("and the half-built cluster could not be removed: {error:#}"))?;
            return Err(error);
        }
        Ok(Self { plan, tools })
    }

    /// Starts again those programs of a cluster that have ended, each as it was started at first; what else there is runs on. Answers which that were.
    ///
    /// # Errors
    /// When there is no such cluster, or a program does not start.
    pub(crate) fn mend(name: &str, progress: &Progress) -> Result<Vec<String>> {
        plan::check_name(name)?;
        let plan = registry::find(name)?.with_context(|| {
            format!("there is no cluster {name}: start it with `cargo xtask cluster up --name {name}`")
        })?;
        let tools = tools::ensure_cluster_tools(progress)?;
        let _lock = registry::lock(name, progress)?;
        boot::mend(&plan, &tools, progress)
    }

    /// Finds a cluster that is up.
    ///
    /// # Errors
    /// When there is none under this name; the text says how to start one.
    pub(crate) fn find(name: &str, progress: &Progress) -> Result<Self> {
        plan::check_name(name)?;
        let start = format!("start it with `cargo xtask cluster up --name {name}`");
        let plan = registry::find(name)?.with_context(|| format!("there is no cluster {name}: {start}"))?;
        if !status::is_whole(&plan) {
            bail!("cluster {name} is not whole, some of its programs have ended: {start}");
        }
        let cluster = Self { plan, tools: tools::ensure_kubernetes(progress)? };
        progress.logs_are_in(&cluster.logs());
        Ok(cluster)
    }

    /// Takes a cluster down, in whatever state it is. Its logs go too, unless they are to be kept.
    ///
    /// # Errors
    /// When something of it could not be removed.
    pub(crate) fn down(name: &str, keep_logs: bool, progress: &Progress) -> Result<()> {
        plan::check_name(name)?;
        tools::host::require_root_on_linux()?;
        let _lock = registry::lock(name, progress)?;
        if sweep::has_traces(name) {
            sweep::stop(name, progress)?;
        } else {
            progress.say(&format!("there is no cluster {name}"));
        }
        if keep_logs { Ok(()) } else { sweep::remove_logs(name) }
    }

    /// kubectl, pointed at this cluster.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(&self.tools.kubectl);
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
    }

    /// Helm, pointed at this cluster; it leaves nothing in the user's home.
    pub(crate) fn helm(&self) -> Command {
        let home = self.plan.paths().state.join("helm");
        let mut command = Command::new(&self.tools.helm);
        command.env("KUBECONFIG", self.kubeconfig());
        for (variable, folder) in
            [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")]
        {
            command.env(variable, home.join(folder));
        }
        command
    }

    /// A program run where the addresses of pods and Services can be reached: the control plane's network.
    pub(crate) fn inside(&self, program: impl AsRef<OsStr>) -> Command {
        network::enter(&self.network(), program)
    }

    /// The network namespace from which pods, Services and nodes can be reached.
    pub(crate) fn network(&self) -> String {
        self.plan.control_plane_namespace()
    }

    /// The folder with a file for each of its programs: the process's number, and when it began.
    pub(crate) fn pids(&self) -> PathBuf {
        daemon::pids(&self.plan.paths())
    }

    /// For use from the host's shell; the user's own `~/.kube/config` is not touched.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.plan.paths().kubeconfig()
    }

    /// The same rights as [`Self::kubeconfig`], for programs that run [inside](Self::inside).
    pub(crate) fn inner_kubeconfig(&self) -> PathBuf {
        self.plan.paths().state.join("admin.kubeconfig")
    }

    /// What to type in a shell so that kubectl and helm are found and talk to this cluster.
    pub(crate) fn shell_setup(&self) -> String {
        let folder = |program: &Path| program.parent().unwrap_or(program).display().to_string();
        let (kubectl, helm) = (folder(&self.tools.kubectl), folder(&self.tools.helm));
        format!("export KUBECONFIG={} PATH={kubectl}:{helm}:$PATH", self.kubeconfig().display())
    }

    /// One log per program, and `audit.log`, the API server's record of every request.
    pub(crate) fn logs(&self) -> PathBuf {
        self.plan.paths().logs
    }

    /// Names of the nodes.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.plan.every_node().map(|node| node.name).collect()
    }

    /// Cuts a node off the network: it and its pods run on, nobody reaches them.
    ///
    /// # Errors
    /// When there is no such node.
    pub(crate) fn cut_off(&self, node: &str) -> Result<()> {
        network::set_link(&self.plan, &self.node(node)?.name, false)
    }

    /// Puts a node back on the network.
    ///
    /// # Errors
    /// When there is no such node.
    pub(crate) fn reconnect(&self, node: &str) -> Result<()> {
        network::set_link(&self.plan, &self.node(node)?.name, true)
    }

    /// Puts an image on every node that does not have it.
    ///
    /// # Errors
    /// When a node's containerd refuses it.
    pub(crate) fn import(&self, archive: &Archive) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), &archive.bytes)?;
        for node in self.plan.every_node() {
            if !node::has_image(&self.plan, &node, archive)? {
                node::import_image(&self.plan, &node, file.path())
                    .with_context(|| format!("{} did not take the image {}", node.name, archive.reference))?;
            }
        }
        Ok(())
    }

    fn node(&self, name: &str) -> Result<NodePlan> {
        let found = self.plan.every_node().find(|node| node.name == name);
        found.with_context(|| format!("no node {name:?}; there are {}", self.nodes().join(", ")))
    }
}

/// The logs of the cluster that ran before under this name are kept until the next one.
fn set_logs_aside(paths: &plan::Paths) -> Result<()> {
    let (logs, previous): (&Path, &Path) = (&paths.logs, &paths.previous_logs);
    if logs.exists() {
        if previous.exists() {
            fs::remove_dir_all(previous)?;
        }
        fs::rename(logs, previous).with_context(|| format!("could not move {} aside", logs.display()))?;
    }
    Ok(())
}
