//! Which local clusters there are on this machine, and the locks that keep two commands from colliding.

use std::fs::{self, File, TryLockError};
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::cluster::plan::{MOST_CLUSTERS, Paths, Plan};
use crate::progress::Progress;

/// Below this folder each cluster has its own.
const STATE: &str = "/var/lib/groupcache";
/// Locks live apart from what `down` removes: whoever waits for one must not wait on a deleted file.
const LOCKS: &str = "/run/lock";

/// While it lives, no other command changes the same cluster. The kernel lets go of it when the process ends.
pub(crate) struct ClusterLock {
    _file: File,
}

/// Waits until no other command works on this cluster.
///
/// # Errors
/// When the lock file cannot be made.
pub(crate) fn lock(name: &str, progress: &Progress) -> Result<ClusterLock> {
    fs::create_dir_all(LOCKS)?;
    let path = Path::new(LOCKS).join(format!("groupcache-{name}.lock"));
    let file = File::create(&path).with_context(|| format!("could not create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            progress.step(&format!("waiting for another command on cluster {name}"), || Ok(file.lock()?))?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| format!("could not lock {}", path.display()));
        }
    }
    Ok(ClusterLock { _file: file })
}

/// Reads the plan of a cluster that was brought up, whole or in part; `None` if there is none.
///
/// # Errors
/// When its plan cannot be read.
pub(crate) fn find(name: &str) -> Result<Option<Plan>> {
    let path = Paths::new(name).plan();
    match fs::read_to_string(&path) {
        Ok(text) => {
            let plan = serde_json::from_str(&text).with_context(|| {
                format!("{} is damaged; `cluster down` removes the cluster", path.display())
            })?;
            Ok(Some(plan))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("could not read {}", path.display())),
    }
}

/// Names of all clusters with state on this machine.
pub(crate) fn names() -> Vec<String> {
    let entries = fs::read_dir(STATE).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("cluster.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Gives a new cluster the lowest free index and writes its plan. Returns the plan and the listener on its host port,
/// which shows that the port is free and keeps it so.
///
/// # Errors
/// When every index is taken or the plan cannot be written.
pub(crate) fn register(name: &str, nodes: u8) -> Result<(Plan, TcpListener)> {
    let guard = File::create(Path::new(LOCKS).join("groupcache-clusters.lock"))?;
    guard.lock()?;
    let taken: Vec<u8> =
        names().iter().filter_map(|name| find(name).ok().flatten()).map(|plan| plan.index).collect();
    for index in (0..MOST_CLUSTERS).filter(|index| !taken.contains(index)) {
        let plan = Plan::new(name, index, nodes)?;
        // Somebody else's program may have the port: then the index is no use.
        let Ok(listener) = TcpListener::bind(("127.0.0.1", plan.host_port())) else { continue };
        fs::create_dir_all(plan.paths().state)?;
        fs::write(plan.paths().plan(), serde_json::to_vec_pretty(&plan)?)?;
        return Ok((plan, listener));
    }
    bail!("no free place for another cluster: {MOST_CLUSTERS} run already, or their ports are taken");
}
