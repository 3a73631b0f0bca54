//! Takes a cluster down, whole, half-built or crashed: nothing of it stays on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::cgroup::Cgroups;
use crate::cluster::daemon;
use crate::cluster::network;
use crate::cluster::plan::Paths;
use crate::cluster::{kernel, registry};
use crate::progress::Progress;
use crate::tools::run;

/// Where the CNI library notes what it did. Its path cannot be set.
const CNI_RESULTS: &str = "/var/lib/cni/results";
/// Where kubelet links the logs of containers. Its path cannot be set.
const CONTAINER_LOGS: &str = "/var/log/containers";
/// Where kubelet makes its socket for device plugins.
const KUBELET: &str = "/var/lib/kubelet";

/// Stops everything of a cluster and removes its traces, except for its logs.
///
/// # Errors
/// When something cannot be removed; all the rest is tried nevertheless.
pub(crate) fn stop(name: &str, progress: &Progress) -> Result<()> {
    let paths = Paths::new(name);
    progress.step(&format!("stopping cluster {name}"), || {
        let cgroups = Cgroups::detect()?;
        // Noted before the folders that name them go.
        let sockets = shim_sockets(&paths);
        daemon::kill_all(&paths, &cgroups)?;
        for socket in sockets {
            remove_file(&socket)?;
        }
        unmount_below(&[&paths.state, &paths.run])?;
        network::delete(name)?;
        cgroups.remove(&paths.cgroup)?;
        remove_strays(&paths)?;
        kernel::restore(name)?;
        remove_kubelet_folder(name)?;
        // The state first: what is left without it is still seen as a trace.
        for folder in [&paths.state, &paths.run] {
            remove_folder(folder)?;
        }
        Ok(())
    })
}

/// Removes the logs of a cluster and of the one that ran before under its name.
///
/// # Errors
/// When they cannot be removed.
pub(crate) fn remove_logs(name: &str) -> Result<()> {
    let paths = Paths::new(name);
    remove_folder(&paths.logs)?;
    remove_folder(&paths.previous_logs)
}

/// Whether anything of a cluster is on this machine.
pub(crate) fn has_traces(name: &str) -> bool {
    let paths = Paths::new(name);
    let processes = Cgroups::detect().map(|cgroups| cgroups.processes(&paths.cgroup)).unwrap_or_default();
    paths.state.exists() || paths.run.exists() || !network::existing(name).is_empty() || !processes.is_empty()
}

/// containerd's shims listen on sockets in a folder that all containerds of a machine share.
fn shim_sockets(paths: &Paths) -> Vec<PathBuf> {
    let bundles = walkdir::WalkDir::new(&paths.run).max_depth(6).into_iter().flatten();
    bundles
        .filter(|entry| entry.file_name() == "address")
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| text.trim().strip_prefix("unix://").map(PathBuf::from))
        .collect()
}

/// Unmounts all that is mounted below some folders, the deepest first.
fn unmount_below(folders: &[&Path]) -> Result<()> {
    // A mount may hide others below it: look again until nothing is left. Each round takes away at least one.
    loop {
        let mounts = fs::read_to_string("/proc/self/mounts").context("could not read /proc/self/mounts")?;
        let points: BTreeSet<PathBuf> = mount_points(&mounts)
            .into_iter()
            .filter(|point| folders.iter().any(|folder| point.starts_with(folder)))
            .collect();
        if points.is_empty() {
            return Ok(());
        }
        for point in points.iter().rev() {
            run::output(Command::new("umount").arg("--lazy").arg(point))?;
        }
    }
}

fn mount_points(mounts: &str) -> Vec<PathBuf> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    points.map(|point| PathBuf::from(point.replace("\\040", " ").replace("\\134", "\\"))).collect()
}

/// What the cluster's programs leave in folders whose paths cannot be set.
fn remove_strays(paths: &Paths) -> Result<()> {
    // Each note names the namespace that it is about, and ours lie in our folder.
    let ours = format!("\"{}/", paths.run.display());
    for entry in fs::read_dir(CNI_RESULTS).into_iter().flatten().flatten() {
        if fs::read_to_string(entry.path()).is_ok_and(|note| note.contains(&ours)) {
            remove_file(&entry.path())?;
        }
    }
    for entry in fs::read_dir(CONTAINER_LOGS).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(&paths.state)) {
            remove_file(&entry.path())?;
        }
    }
    // Only when nothing of anybody else's is in them.
    for folder in [CNI_RESULTS, "/var/lib/cni", CONTAINER_LOGS, "/run/containerd/s", "/run/containerd"] {
        fs::remove_dir(folder).ok();
    }
    Ok(())
}

/// Every kubelet makes a socket for device plugins at a path that cannot be set. A machine's own kubelet keeps much more
/// beside it; where there is nothing else, it was ours.
fn remove_kubelet_folder(name: &str) -> Result<()> {
    let files =
        walkdir::WalkDir::new(KUBELET).into_iter().flatten().filter(|entry| !entry.file_type().is_dir());
    let others = registry::names().iter().any(|other| other != name);
    let sockets = Path::new(KUBELET).join("device-plugins");
    let only_ours = files.map(walkdir::DirEntry::into_path).all(|file| file == sockets.join("kubelet.sock"));
    if others || !only_ours {
        return Ok(());
    }
    remove_file(&sockets.join("kubelet.sock"))?;
    for folder in [&sockets, Path::new(KUBELET)] {
        fs::remove_dir(folder).ok();
    }
    Ok(())
}

/// Removes a folder and, if that was its last one, the parent that all clusters share.
fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("could not remove {}", folder.display()));
        }
        _ => {}
    }
    if let Some(parent) = folder.parent().filter(|_| registry::names().is_empty()) {
        fs::remove_dir(parent).ok();
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("could not remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_read_back() {
        let mounts = "proc /proc proc rw 0 0\ntmpfs /var/lib/a\\040b tmpfs rw 0 0\n";

        assert_eq!(mount_points(mounts), [PathBuf::from("/proc"), PathBuf::from("/var/lib/a b")]);
    }
}
