//! A network of the scenario's own: a namespace for each node, one for its clients, and a filter that cuts a node off.
//!
//! Nothing of the machine's own network changes: bridge, links, addresses and filters are inside the namespaces and go with them. A namespace's name
//! carries the process's id, so that runs beside each other do not meet and what a dead run has left is known for what it is.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::program;

/// Where iproute2 keeps its namespaces.
const NAMESPACES: &str = "/run/netns";
/// Before the process's id in a namespace's name.
const PREFIX: &str = "gce2e";
/// The bridge; the nodes' links are its ports.
const BRIDGE: &str = "nodes";
/// Folders of system programs that a user's PATH often lacks.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/bin"];
/// Nodes of one network: `a` to `z`.
const MOST_NODES: usize = 26;

/// Gone when dropped.
#[derive(Debug)]
pub struct Lan {
    /// The nodes' places, in the order of their names.
    pub nodes: Vec<Place>,
    /// Where the clients are.
    pub clients: Place,
}

/// One end of the network.
#[derive(Clone, Debug)]
pub struct Place {
    /// `a`, `b`, ...
    pub name: String,
    /// Its network namespace.
    pub namespace: String,
    /// Its address there.
    pub address: IpAddr,
}

impl Lan {
    /// Makes a network for nodes `a`, `b`, ... and their clients, once what dead runs have left is removed.
    ///
    /// # Errors
    /// When this is not root, or `ip` fails.
    pub fn make(scenario: &str, count: usize) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "network namespaces need root: run the scenario {scenario} with sudo"
        );
        ensure!(count <= MOST_NODES, "a network has at most {MOST_NODES} nodes, not {count}");
        sweep()?;
        let run = format!("{PREFIX}.{}.{scenario}", process::id());
        let place = |name: String, last: u8| Place {
            namespace: format!("{run}-{name}"),
            // Of a block for documentation: nobody is there.
            address: Ipv4Addr::new(192, 0, 2, last).into(),
            name,
        };
        let nodes = ('a'..).zip(2..).take(count).map(|(name, last)| place(name.to_string(), last)).collect();
        let lan = Self { nodes, clients: place("clients".to_owned(), 1) };
        // From here on it is removed whatever fails.
        lan.connect().context("making a network for the scenario")?;
        Ok(lan)
    }

    /// Moves the calling thread to where the clients are, and with it the threads and programs that it starts from then on. There is no way back.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn enter(&self) -> Result<()> {
        enter(&self.clients.namespace)
    }

    /// Drops every packet of this TCP port to and from a node, its own calls to others' as well as theirs to its own: nobody is told.
    ///
    /// # Errors
    /// When the filter is refused.
    pub fn cut_off(&self, node: usize, port: u16) -> Result<()> {
        let drops: String = ["INPUT", "OUTPUT"]
            .iter()
            .flat_map(|chain| {
                ["--dport", "--sport"].map(|end| format!("-A {chain} -p tcp {end} {port} -j DROP\n"))
            })
            .collect();
        // All of them in one step.
        self.filter(node, &drops)
    }

    /// Lets everything through again.
    ///
    /// # Errors
    /// When the filter is refused.
    pub fn mend(&self, node: usize) -> Result<()> {
        self.filter(node, "")
    }

    /// Puts these rules in the place of those that are there.
    fn filter(&self, node: usize, rules: &str) -> Result<()> {
        let table = format!("*filter\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n{rules}COMMIT\n");
        let command = &mut inside(&self.nodes[node].namespace, "iptables-restore");
        program::output(command.arg("--wait"), Some(&table)).map(drop)
    }

    fn connect(&self) -> Result<()> {
        let center = &self.clients.namespace;
        ip(["netns", "add", center])?;
        ip(["-n", center, "link", "set", "lo", "up"])?;
        ip(["-n", center, "link", "add", BRIDGE, "type", "bridge"])?;
        ip(["-n", center, "address", "add", &format!("{}/24", self.clients.address), "dev", BRIDGE])?;
        ip(["-n", center, "link", "set", BRIDGE, "up"])?;
        for Place { name, namespace, address } in &self.nodes {
            ip(["netns", "add", namespace])?;
            ip(["-n", namespace, "link", "set", "lo", "up"])?;
            // `ip` would take a bare `a` for the beginning of one of its own words.
            let link = &format!("node-{name}");
            let peer = ["peer", "name", "eth0", "netns", namespace];
            ip(["-n", center, "link", "add", link, "type", "veth"].into_iter().chain(peer))?;
            ip(["-n", center, "link", "set", link, "master", BRIDGE, "up"])?;
            ip(["-n", namespace, "address", "add", &format!("{address}/24"), "dev", "eth0"])?;
            ip(["-n", namespace, "link", "set", "eth0", "up"])?;
        }
        Ok(())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for place in self.nodes.iter().chain([&self.clients]) {
            if path_of(&place.namespace).exists()
                && let Err(error) = ip(["netns", "delete", &place.namespace])
            {
                eprintln!("warning: {error:#}; the next run removes it");
            }
        }
    }
}

/// Moves the calling thread into a network namespace, and with it the threads and programs that it starts from then on.
///
/// # Errors
/// When there is none of that name, or the system refuses.
pub fn enter(namespace: &str) -> Result<()> {
    let path = path_of(namespace);
    let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .with_context(|| format!("entering the network namespace {namespace}"))
}

/// A command that runs a program inside a namespace. nsenter becomes the program, so that signals reach it.
#[must_use]
pub fn inside(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(found("nsenter"));
    let program = program.as_ref();
    let program = program.to_str().map_or_else(|| PathBuf::from(program), found);
    command.arg(format!("--net={}", path_of(namespace).display())).arg("--").arg(program);
    command
}

/// Removes the namespaces of runs whose process is no more, and ends what still runs in them.
fn sweep() -> Result<()> {
    let entries = fs::read_dir(NAMESPACES).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        let Some(pid) = maker(&name).filter(|pid| !Path::new(&format!("/proc/{pid}")).exists()) else {
            continue;
        };
        let pids = ip(["netns", "pids", &name])?;
        for left in pids.split_whitespace() {
            // One that has ended by itself is fine.
            program::run(Command::new("kill").args(["-s", "KILL", left]), None)?;
        }
        ip(["netns", "delete", &name]).with_context(|| format!("what the dead process {pid} has left"))?;
    }
    Ok(())
}

/// The process that has made the namespace of this name, if a scenario has.
fn maker(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.strip_prefix('.')?.split('.').next()?.parse().ok()
}

fn path_of(namespace: &str) -> PathBuf {
    Path::new(NAMESPACES).join(namespace)
}

/// Runs `ip`; answers what it says.
///
/// # Errors
/// When it fails.
pub fn ip<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    program::output(Command::new(found("ip")).args(arguments), None)
}

/// A program's path: a system's own where it is in a system's folder.
#[must_use]
pub fn found(name: &str) -> PathBuf {
    let candidates = SYSTEM_FOLDERS.iter().map(|folder| Path::new(folder).join(name));
    candidates.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_who_has_made_it() {
        assert_eq!(maker("gce2e.4711.cut_off-a"), Some(4711));
        for other in ["groupcache-demo.node-1", "gce2e", "gce2e.x.cut_off-a", "gce2efoo.1.a"] {
            assert_eq!(maker(other), None, "{other}");
        }
    }
}
