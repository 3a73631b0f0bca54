//! The nodes of a cluster as they come and go: where each of them is now, told by a watch.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cachecluster::{LABEL, NAME};
use crate::caller::Address;
use crate::kubectl::Kubectl;
use crate::wait::{self, Seen};
use crate::watch::Watch;

/// Between two looks at what the watch has said.
const GLANCE: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(30);
const DATA_PORT: u16 = 8080;
/// What the watch says of a pod: name, uid, address.
const LINE: &str = "{.metadata.name} {.metadata.uid} {.status.podIP}";

/// Follows the pods of the scenario's cluster until it is dropped.
#[derive(Debug)]
pub struct Fleet {
    shared: Arc<Shared>,
    follower: Option<JoinHandle<()>>,
    _watch: Watch,
}

/// What is known of the nodes, by name.
#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    nodes: Mutex<BTreeMap<String, Berth>>,
}

/// One node.
#[derive(Clone, Debug)]
struct Berth {
    uid: String,
    address: IpAddr,
    data: Address,
}

/// A pod that has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its uid.
    pub uid: String,
    /// Its address.
    pub address: IpAddr,
}

/// A view of the nodes that threads may keep.
#[derive(Clone, Debug)]
pub struct Lookout(Arc<Shared>);

impl Fleet {
    /// Begins, and waits until so many nodes have an address.
    ///
    /// # Errors
    /// When they have none.
    pub fn follow(kubectl: &Kubectl, nodes: usize) -> Result<Self> {
        let label = format!("{LABEL}={NAME}");
        let watch = Watch::begin(kubectl, "pods", &["pods", "--selector", &label], LINE)?;
        let lines = BufReader::new(File::open(watch.log()).context("reading what the watch says")?);
        let shared = Arc::new(Shared::default());
        let following = Arc::clone(&shared);
        let follower = thread::spawn(move || following.follow(lines));
        let fleet = Self { shared, follower: Some(follower), _watch: watch };
        wait::until(&format!("addresses of {nodes} nodes"), LIMIT, || {
            let located = fleet.lookout().located();
            Ok(if located.len() >= nodes { Seen::Reached(()) } else { Seen::NotYet(format!("{located:?}")) })
        })?;
        Ok(fleet)
    }

    /// Where the nodes take Gets, in the order of their names; each follows its node to the next pod of that name.
    #[must_use]
    pub fn data(&self) -> Vec<Address> {
        self.shared.nodes().values().map(|berth| berth.data.clone()).collect()
    }

    /// A view that threads may keep.
    #[must_use]
    pub fn lookout(&self) -> Lookout {
        Lookout(Arc::clone(&self.shared))
    }
}

impl Lookout {
    /// The newest pod of each name.
    #[must_use]
    pub fn located(&self) -> Vec<Located> {
        let nodes = self.0.nodes();
        nodes.values().map(|berth| Located { uid: berth.uid.clone(), address: berth.address }).collect()
    }
}

impl Shared {
    fn nodes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Berth>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, mut lines: impl BufRead) {
        let mut line = String::new();
        while !self.over.load(Ordering::Relaxed) {
            // A line may come in two pieces: what has no end yet is kept.
            match lines.read_line(&mut line) {
                Ok(_) if line.ends_with('\n') => {
                    self.note(&line);
                    line.clear();
                }
                _ => thread::sleep(GLANCE),
            }
        }
    }

    fn note(&self, line: &str) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(uid), Some(address)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let Ok(address) = address.parse::<IpAddr>() else { return };
        let socket = SocketAddr::new(address, DATA_PORT);
        let mut nodes = self.nodes();
        let berth = nodes.entry(name.to_owned()).or_insert_with(|| Berth {
            uid: uid.to_owned(),
            address,
            data: socket.into(),
        });
        uid.clone_into(&mut berth.uid);
        berth.address = address;
        berth.data.moves_to(socket);
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(follower) = self.follower.take() {
            follower.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_follows_its_node_to_the_next_pod() {
        let shared = Arc::new(Shared::default());
        shared.note("quickstart-0 a 10.0.0.1\n");
        let data = shared.nodes()["quickstart-0"].data.clone();

        // A pod that has no address yet, and then one.
        shared.note("quickstart-0 b \n");
        assert_eq!(data.now(), "10.0.0.1:8080".parse().unwrap());
        shared.note("quickstart-0 b 10.0.0.2\n");

        assert_eq!(data.now(), "10.0.0.2:8080".parse().unwrap());
        assert_eq!(Lookout(shared).located()[0].uid, "b");
    }
}
