//! Cache nodes as processes on loopback, in a fixed membership.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::http;
use crate::settings;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

const START: Duration = Duration::from_secs(30);
/// How long a node that was told to stop goes on serving: clients of a scenario look for new addresses every 5 s, but a
/// refused connection makes them look at once.
const DRAIN: &str = "2s";

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
        let ports = free_ports(count * 3)?;
        let nodes: Vec<Node> = ports
            .chunks(3)
            .zip('a'..)
            .map(|(ports, name)| {
                let ports = Ports { data: ports[0], cluster: ports[1], admin: ports[2] };
                Node { name: name.to_string(), ports, process: None }
            })
            .collect();
        let members: Vec<String> =
            nodes.iter().map(|node| format!("{}={}", node.name, node.ports.cluster)).collect();
        let folder = tempfile::tempdir()?;
        let mut nodes = Self { nodes, scenario: scenario.to_owned(), folder, members: members.join(",") };
        nodes.write_configuration(loader)?;
        for index in 0..count {
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

    fn launch(&mut self, index: usize) -> Result<()> {
        let node = &mut self.nodes[index];
        let mut command = Command::new(settings::path("GROUPCACHE_NODE")?);
        command
            .args(["--name", &node.name, "--drain-delay", DRAIN])
            .args(["--data-address", &node.ports.data.to_string()])
            .args(["--cluster-address", &node.ports.cluster.to_string()])
            .args(["--admin-address", &node.ports.admin.to_string()])
            .args(["--advertise", &node.ports.cluster.to_string()])
            .args(["--members", &self.members])
            .arg("--config")
            .arg(self.folder.path().join("groups.json"));
        node.process = Some(Spawned::start(&format!("{}-node-{}", self.scenario, node.name), &mut command)?);
        Ok(())
    }

    fn write_configuration(&self, loader: SocketAddr) -> Result<()> {
        let configuration = json!({
            "groups": [{"name": "unicode", "loader": "names", "maxBytes": "16Mi", "ttl": "1h", "negativeTtl": "1m"}],
            "loaders": [{"name": "names", "grpc": {"target": loader.to_string()}}],
        });
        fs::write(self.folder.path().join("groups.json"), configuration.to_string())
            .context("writing the groups")
    }
}

impl Node {
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

    /// The process.
    ///
    /// # Errors
    /// When it was never started.
    pub fn process(&mut self) -> Result<&mut Spawned> {
        self.process.as_mut().context("the node was started")
    }

    fn wait_ready(&self) -> Result<()> {
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
