//! The control groups of a cluster: one tree below every hierarchy, so that every process of ours can be found in it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

/// What nodes need of a v2 hierarchy.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// How long a group may stay busy after its last process was killed.
const BUSY: Duration = Duration::from_secs(5);

/// The hierarchies of this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    /// Mount points: one for v2, one for each controller for v1 (and there perhaps an empty v2 one).
    hierarchies: Vec<PathBuf>,
    unified: bool,
}

impl Cgroups {
    /// Finds out what this machine has.
    ///
    /// # Errors
    /// When no hierarchy is mounted.
    pub(crate) fn detect() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("could not read /proc/self/mounts")?;
        let found = Self::parse(&mounts);
        if found.hierarchies.is_empty() {
            bail!("no cgroup hierarchy is mounted below /sys/fs/cgroup; nodes cannot run containers without");
        }
        Ok(found)
    }

    fn parse(mounts: &str) -> Self {
        let mut hierarchies = Vec::new();
        let mut unified = false;
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(point), Some(kind)) = (words.next(), words.next()) else { continue };
            // The same hierarchy may be mounted a second time elsewhere; the tools look only here.
            if !point.starts_with("/sys/fs/cgroup") || !matches!(kind, "cgroup" | "cgroup2") {
                continue;
            }
            unified |= kind == "cgroup2" && point == "/sys/fs/cgroup";
            hierarchies.push(PathBuf::from(point));
        }
        Self { hierarchies, unified }
    }

    /// Makes a group in every hierarchy, ready for kubelet.
    ///
    /// # Errors
    /// When a hierarchy is read-only or cannot hand on its controllers.
    pub(crate) fn create(&self, group: &Path) -> Result<()> {
        for root in &self.hierarchies {
            let mut at = root.clone();
            for part in group {
                if self.unified {
                    hand_on_controllers(&at)?;
                }
                let parent = at.clone();
                at.push(part);
                match fs::create_dir(&at) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                    Err(error) => {
                        return Err(error)
                            .with_context(|| format!("could not make the cgroup {}", at.display()));
                    }
                }
                inherit_cpuset(&parent, &at)?;
            }
            if self.unified {
                hand_on_controllers(&at)?;
            }
        }
        Ok(())
    }

    /// Moves a process of ours into a group without processes of its own, where `processes` finds it and its children.
    ///
    /// # Errors
    /// When the process has ended or may not be moved.
    pub(crate) fn enter(&self, group: &Path, pid: u32) -> Result<()> {
        // One hierarchy is enough to find it again, and the machine's own accounting of memory stays as it is.
        let root = ["freezer", "pids", "systemd"]
            .iter()
            .filter_map(|name| self.hierarchies.iter().find(|root| root.ends_with(name)))
            .chain(&self.hierarchies)
            .next()
            .context("no cgroup hierarchy")?;
        let folder = root.join(group);
        fs::create_dir_all(&folder)
            .with_context(|| format!("could not make the cgroup {}", folder.display()))?;
        let file = folder.join("cgroup.procs");
        fs::write(&file, pid.to_string())
            .with_context(|| format!("could not move {pid} to {}", file.display()))
    }

    /// All processes in a group and in the groups below it.
    pub(crate) fn processes(&self, group: &Path) -> BTreeSet<u32> {
        let folders =
            self.hierarchies.iter().flat_map(|root| WalkDir::new(root.join(group)).into_iter().flatten());
        folders
            .filter(|entry| entry.file_name() == "cgroup.procs")
            .filter_map(|entry| fs::read_to_string(entry.path()).ok())
            .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<u32>>())
            // A process outside of our pid namespace reads as 0.
            .filter(|pid| *pid != 0)
            .collect()
    }

    /// Removes a group and all below it, in every hierarchy; and its parent if that has become empty.
    ///
    /// # Errors
    /// When a group stays busy.
    pub(crate) fn remove(&self, group: &Path) -> Result<()> {
        for root in &self.hierarchies {
            let top = root.join(group);
            let below = WalkDir::new(&top).contents_first(true).into_iter().flatten();
            for entry in below.filter(|entry| entry.file_type().is_dir()) {
                remove_folder(entry.path())?;
            }
            if let Some(parent) = top.parent().filter(|parent| *parent != root.as_path()) {
                // Other clusters may still live in it.
                fs::remove_dir(parent).ok();
            }
        }
        Ok(())
    }
}

fn remove_folder(folder: &Path) -> Result<()> {
    let began = Instant::now();
    loop {
        match fs::remove_dir(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // The kernel clears a killed process away a little later.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && began.elapsed() < BUSY => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("could not remove the cgroup {}", folder.display()));
            }
        }
    }
}

/// v2: a group's children have only the controllers that it hands on.
fn hand_on_controllers(folder: &Path) -> Result<()> {
    let has = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    for controller in has.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
        fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}")).with_context(|| {
            format!(
                "the cgroup {} does not hand on `{controller}`: processes live in it. In a container, start with a \
                 cgroup namespace of its own and move its processes into a group below the root first",
                folder.display()
            )
        })?;
    }
    Ok(())
}

/// v1: a new cpuset is empty, and nothing can run in it until it has processors and memory.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let is_v1 = parent.join("cpuset.cpu_exclusive").exists();
        if !is_v1 || !fs::read_to_string(child.join(file)).is_ok_and(|text| text.trim().is_empty()) {
            continue;
        }
        let value = fs::read_to_string(parent.join(file))?;
        fs::write(child.join(file), value.trim())
            .with_context(|| format!("could not write {}", child.join(file).display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_machine_counts_as_v1() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
            cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n\
            cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

        let found = Cgroups::parse(mounts);

        assert!(!found.unified);
        assert_eq!(found.hierarchies.len(), 3);
    }

    #[test]
    fn a_single_v2_mount_is_unified() {
        let found = Cgroups::parse("proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n");

        assert_eq!(found, Cgroups { hierarchies: vec![PathBuf::from("/sys/fs/cgroup")], unified: true });
    }
}
