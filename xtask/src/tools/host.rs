//! Checks that this machine may run a local cluster, and finds programs on it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

const INSTEAD: &str = "A local cluster needs root on a Debian-like Linux: it makes network namespaces, cgroups and mounts.\n\
    Instead you can show the demo on a cluster that you have: `cargo xtask demo --context NAME` (see `kubectl config get-contexts`).\n\
    The tests that need no network of their own need no root either: `cargo xtask test unit` and, on Linux, `cargo xtask test process --only NAME`, but for the scenario `cut_off`.";

/// Folders of system programs that a user's PATH often lacks.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin"];

/// Refuses machines on which a local cluster cannot run.
///
/// # Errors
/// Says what is missing and what to do instead.
pub(crate) fn require_root_on_linux() -> Result<()> {
    if !cfg!(target_os = "linux") {
        bail!("this is {}, not Linux.\n{INSTEAD}", env::consts::OS);
    }
    if !rustix::process::geteuid().is_root() {
        bail!("this command must run as root (for example with `sudo -E`).\n{INSTEAD}");
    }
    Ok(())
}

/// What to do on a machine that cannot run a local cluster.
pub(crate) fn instead() -> &'static str {
    INSTEAD
}

/// The path of a program: as given when it is absolute, else the first hit on PATH or in the system's folders.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    if name.starts_with('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// The user's cache folder of this project.
///
/// # Errors
/// When neither `XDG_CACHE_HOME` nor `HOME` is set.
pub(crate) fn cache_folder() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            PathBuf::from(env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set; set one")?)
                .join(".cache")
        }
    };
    Ok(base.join("groupcache"))
}

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}
