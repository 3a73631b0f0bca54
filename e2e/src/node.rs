//! Cache nodes as processes, on loopback or each in a namespace of its own, in a fixed membership.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cable::Cable;
use crate::http;
use crate::lan::{self, Lan};
use crate::settings;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

const START: Duration = Duration::from_secs(30);
/// How long a node that was told to stop goes on serving: clients of a scenario look for new addresses every 5 s, but a
/// refused connection makes them look at once.
const DRAIN: &str = "2s";

/// Short, because a node serves no copies in its first bound; longer than a busy machine lets a beat wait.
const BOUND: &str = "2s";

/// What a pod would allow a node: its bounds on what is in flight are shares of it.
const MEMORY: &str = "512Mi";

/// Its ports where it has an address to itself: data, cluster and admin.
pub const OWN_PORTS: [u16; 3] = [8080, 8081, 8082];

/// Three ports of one node.
#[derive(Clone, Debug)]
struct Ports {
    data: SocketAddr,
    cluster: SocketAddr,
    admin: SocketAddr,
}

/// One node; killed when dropped.
#[derive(Debug)]
pub struct Node {
    /// Its name in the ring.
    pub name: String,
    /// Over which other nodes reach it on loopback.
    cable: Option<Cable>,
    /// The network namespace that it runs in, if it is not the scenario's.
    namespace: Option<String>,
    ports: Ports,
    process: Option<Spawned>,
}

/// Some nodes that know each other; gone when dropped.
#[derive(Debug)]
pub struct Nodes {
    /// In the order of their names.
    pub nodes: Vec<Node>,
    scenario: String,
    folder: tempfile::TempDir,
    /// `a=127.0.0.1:1,b=127.0.0.1:2`
    members: String,
}

impl Nodes {
    /// Starts nodes `a`, `b`, ... with the group `unicode`, and waits until all of them are ready.
    ///
    /// # Errors
    /// When one does not get ready; its log is named.
    pub fn start(scenario: &str, count: usize, loader: SocketAddr) -> Result<Self> {
        let configuration = json!({
            "groups": [{"name": "unicode", "loader": "names", "maxBytes": "16Mi", "ttl": "1h", "negativeTtl": "1m"}],
            "loaders": [{"name": "names", "grpc": {"target": loader.to_string()}}],
            "stalenessBound": BOUND, "purgeTimeout": "1s",
        });
        Self::start_with(scenario, count, &configuration)
    }

    /// The same with groups and loaders of the scenario's own.
    ///
    /// # Errors
    /// When one does not get ready; its log is named.
    pub fn start_with(scenario: &str, count: usize, configuration: &Value) -> Result<Self> {
        let ports = free_ports(count * 3)?;
        let mut nodes: Vec<Node> = Vec::new();
        for (ports, name) in ports.chunks(3).zip('a'..) {
            let ports = Ports { data: ports[0], cluster: ports[1], admin: ports[2] };
            let cable = Some(Cable::to(ports.cluster)?);
            nodes.push(Node { name: name.to_string(), cable, namespace: None, ports, process: None });
        }
        Self::launch_all(scenario, nodes, configuration)
    }

    /// The same with each node in its namespace of a network, reached at its own address.
    ///
    /// # Errors
    /// When one does not get ready; its log is named.
    pub fn start_on(lan: &Lan, scenario: &str, configuration: &Value) -> Result<Self> {
        let node = |place: &lan::Place| {
            let [data, cluster, admin] = OWN_PORTS.map(|port| SocketAddr::new(place.address, port));
            let ports = Ports { data, cluster, admin };
            let namespace = Some(place.namespace.clone());
            Node { name: place.name.clone(), cable: None, namespace, ports, process: None }
        };
        Self::launch_all(scenario, lan.nodes.iter().map(node).collect(), configuration)
    }

    fn launch_all(scenario: &str, nodes: Vec<Node>, configuration: &Value) -> Result<Self> {
        let members: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name, node.reached_at())).collect();
        let folder = tempfile::tempdir()?;
        let mut nodes = Self { nodes, scenario: scenario.to_owned(), folder, members: members.join(",") };
        fs::write(nodes.folder.path().join("groups.json"), configuration.to_string())
            .context("writing the groups")?;
        for index in 0..nodes.nodes.len() {
            nodes.launch(index)?;
        }
        for node in &nodes.nodes {
            node.wait_ready()?;
        }
        Ok(nodes)
    }

    /// The data ports of all nodes, as `groupcachectl --address` takes them.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<String> = self.nodes.iter().map(|node| node.ports.data.to_string()).collect();
        addresses.join(",")
    }

    /// Waits until every node may serve what it keeps: it takes a new cluster one staleness bound.
    ///
    /// # Errors
    /// When one never may.
    pub fn wait_serving(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|node| node.wait_serving(true))
    }

    /// Has a node drain and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(&mut self, index: usize) -> Result<()> {
        let process = self.nodes[index].process()?;
        process.signal("TERM")?;
        process.wait(START).map(drop)
    }

    /// Starts a node that has ended; wait for it with [`Node::wait_ready`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let program = settings::path("GROUPCACHE_NODE")?;
        let mut command = match &node.namespace {
            Some(namespace) => lan::inside(namespace, &program),
            None => Command::new(program),
        };
        command
            .args(["--name", &node.name, "--drain-delay", DRAIN, "--memory-limit", MEMORY])
            .args(["--data-address", &node.ports.data.to_string()])
            .args(["--cluster-address", &node.ports.cluster.to_string()])
            .args(["--admin-address", &node.ports.admin.to_string()])
            .args(["--advertise", &node.reached_at().to_string()])
            .args(["--members", &self.members])
            .arg("--config")
            .arg(self.folder.path().join("groups.json"));
        node.process = Some(Spawned::start(&format!("{}-node-{}", self.scenario, node.name), &mut command)?);
        Ok(())
    }
}

impl Node {
    /// Where other nodes reach it.
    fn reached_at(&self) -> SocketAddr {
        self.cable.as_ref().map_or(self.ports.cluster, |cable| cable.address)
    }

    /// Over which other nodes reach it.
    ///
    /// # Errors
    /// When they reach it without one.
    pub fn cable(&self) -> Result<&Cable> {
        self.cable.as_ref().context("a node in a namespace has no cable; cut it off with Lan::cut_off")
    }

    /// Waits until it may serve what it keeps, or may not.
    ///
    /// # Errors
    /// When that never comes.
    pub fn wait_serving(&self, wanted: bool) -> Result<()> {
        let what = format!("node {} {} copies", self.name, if wanted { "to serve" } else { "not to serve" });
        wait::until(&what, START, || {
            let serves = self.metric("groupcache_serving_copies")?;
            let reached = serves == Some(f64::from(u8::from(wanted)));
            Ok(if reached { Seen::Reached(()) } else { Seen::NotYet(format!("{serves:?}")) })
        })
    }

    /// Where it listens: data, cluster and admin.
    #[must_use]
    pub fn addresses(&self) -> [SocketAddr; 3] {
        [self.ports.data, self.ports.cluster, self.ports.admin]
    }

    /// The value of a key of the group `unicode`, asked over HTTP, once.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, key: &str) -> Result<http::Answer> {
        http::send("GET", self.ports.data, &format!("/v1/groups/unicode/keys/{key}"))
    }

    /// Entries of a group that it holds as the one who loaded them.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn main_entries(&self, group: &str) -> Result<u64> {
        let name = format!("groupcache_cache_entries{{group=\"{group}\",cache=\"main\"}}");
        self.metric(&name)?.map(|entries| entries as u64).with_context(|| format!("there is no {name}"))
    }

    /// One of its metrics, written as in the exposition; `None`: it has none of that name.
    ///
    /// # Errors
    /// When it does not tell.
    pub fn metric(&self, name: &str) -> Result<Option<f64>> {
        let text = http::send("GET", self.ports.admin, "/metrics")?.body;
        // One without labels is written with or without its braces.
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)?.trim_start_matches("{}").strip_prefix(' '));
        Ok(line.and_then(|value| value.trim().parse().ok()))
    }

    /// The process.
    ///
    /// # Errors
    /// When it was never started.
    pub fn process(&mut self) -> Result<&mut Spawned> {
        self.process.as_mut().context("the node was started")
    }

    /// Waits until the node is ready.
    ///
    /// # Errors
    /// When it does not get ready; what it said is told.
    pub fn wait_ready(&self) -> Result<()> {
        wait::until(&format!("node {} to be ready", self.name), START, || {
            let answer = http::send("GET", self.ports.admin, "/readyz")?;
            Ok(if answer.status == 200 { Seen::Reached(()) } else { Seen::NotYet(format!("{answer:?}")) })
        })
        .with_context(|| {
            let log = self.process.as_ref().map(Spawned::said).unwrap_or_default();
            format!("the node said: {log}")
        })
    }
}

/// Ports that nobody has: taken together, so that they differ, and given back.
fn free_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()
        .context("finding free ports")?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}
