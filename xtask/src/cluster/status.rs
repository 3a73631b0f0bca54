//! Tells how a cluster is: its programs, its nodes, and where to find things.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use crate::cluster::boot;
use crate::cluster::daemon;
use crate::cluster::plan::Plan;
use crate::cluster::{Cluster, registry, sweep};
use crate::progress::Progress;
use crate::tools::run;

/// etcd, the API server, the way in from the host, controllers, scheduler and DNS: see `boot`.
const CONTROL_PLANE_PROGRAMS: usize = 6;
/// containerd, kubelet and kube-proxy.
const NODE_PROGRAMS: usize = 3;

/// How a cluster is.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    name: String,
    state: State,
    nodes: Vec<Node>,
    /// What has been started and does not run any more.
    ended_programs: Vec<String>,
    kubeconfig: Option<PathBuf>,
    logs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// Every program runs and every node is Ready.
    Ready,
    /// Every program runs; a node is not Ready or the API server does not answer.
    Unready,
    /// Programs have ended: `mend` starts them again, `up` starts it anew, `down` removes it.
    Broken,
    Absent,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    ready: bool,
    version: String,
    pods: usize,
}

/// Whether every program of a cluster has been started and runs.
pub(crate) fn is_whole(plan: &Plan) -> bool {
    let daemons = daemon::all(&plan.paths());
    daemons.len() == CONTROL_PLANE_PROGRAMS + NODE_PROGRAMS * usize::from(plan.nodes)
        && daemons.iter().all(daemon::Daemon::is_running)
}

/// Looks at a cluster.
///
/// # Errors
/// When its plan cannot be read.
pub(crate) fn look(name: &str, progress: &Progress) -> Result<Status> {
    let Some(plan) = registry::find(name)? else {
        let state = if sweep::has_traces(name) { State::Broken } else { State::Absent };
        return Ok(Status {
            name: name.to_owned(),
            state,
            nodes: Vec::new(),
            ended_programs: Vec::new(),
            kubeconfig: None,
            logs: None,
        });
    };
    let daemons = daemon::all(&plan.paths());
    let ended_programs = daemons.into_iter().filter(|one| !one.is_running()).map(|one| one.name).collect();
    let nodes =
        if is_whole(&plan) { nodes(&Cluster::find(name, progress)?).unwrap_or_default() } else { Vec::new() };
    let all_ready = nodes.len() == usize::from(plan.nodes) && nodes.iter().all(|node| node.ready);
    let state = match (is_whole(&plan), all_ready) {
        (false, _) => State::Broken,
        (true, true) => State::Ready,
        (true, false) => State::Unready,
    };
    let paths = plan.paths();
    Ok(Status {
        name: name.to_owned(),
        state,
        nodes,
        ended_programs,
        kubeconfig: Some(paths.kubeconfig()),
        logs: Some(paths.logs),
    })
}

fn nodes(cluster: &Cluster) -> Result<Vec<Node>> {
    let get = |what: &str| -> Result<Value> {
        let mut kubectl = cluster.kubectl();
        kubectl.args(["--request-timeout=10s", "get", what, "--all-namespaces", "--output", "json"]);
        Ok(serde_json::from_str(&run::output(&mut kubectl)?)?)
    };
    let (list, pods) = (get("nodes")?, get("pods")?);
    let ready = boot::ready_nodes(&list);
    let items = |list: &Value| list["items"].as_array().cloned().unwrap_or_default();
    let nodes = items(&list).into_iter().map(|node| {
        let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Node {
            ready: ready.contains(&name),
            version: node["status"]["nodeInfo"]["kubeletVersion"].as_str().unwrap_or_default().to_owned(),
            pods: items(&pods).iter().filter(|pod| pod["spec"]["nodeName"] == name.as_str()).count(),
            name,
        }
    });
    Ok(nodes.collect())
}

impl Status {
    pub(crate) fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// For people.
    ///
    /// # Errors
    /// Never: writing to a String does not fail.
    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::new();
        let state = match self.state {
            State::Ready => "ready",
            State::Unready => "running, but not every node is Ready",
            State::Broken => {
                "broken: `cluster mend` starts again what has ended, `cluster up` starts anew, `cluster down` removes it"
            }
            State::Absent => "not there: `cluster up` starts it",
        };
        writeln!(text, "cluster {}: {state}", self.name)?;
        for node in &self.nodes {
            let ready = if node.ready { "Ready" } else { "NotReady" };
            writeln!(text, "  {:<8} {ready:<9} {}  {} pods", node.name, node.version, node.pods)?;
        }
        if !self.ended_programs.is_empty() {
            writeln!(text, "  ended:      {}", self.ended_programs.join(", "))?;
        }
        if let Some(kubeconfig) = &self.kubeconfig {
            writeln!(text, "  kubeconfig: {}", kubeconfig.display())?;
        }
        if let Some(logs) = &self.logs {
            writeln!(text, "  logs:       {}", logs.display())?;
        }
        Ok(text)
    }
}
