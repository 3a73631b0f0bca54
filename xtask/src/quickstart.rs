//! The quickstart's files, and how they are applied: by the demo, and by the test that looks at what users copy.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::tools::{host, run};

/// Where the quickstart is, from the repository's root.
const FOLDER: &str = "examples/quickstart";
/// Its files, in the order in which they go.
pub(crate) const FILES: [&str; 4] = ["load.yaml", "herd.yaml", CLUSTER_FILE, "loader.yaml"];
/// The file with the CacheCluster, which only a Kubernetes with its definition takes.
pub(crate) const CLUSTER_FILE: &str = "cachecluster.yaml";

/// Where a file of the quickstart is.
pub(crate) fn path(file: &str) -> PathBuf {
    host::workspace().join(FOLDER).join(file)
}

/// Applies a file as whoever owns the whole object. Server-side: kubectl gives what was applied on the client's side to the
/// manager that comes next, and the second apply of somebody who adds to the object would then take the rest away.
///
/// # Errors
/// When it is refused.
pub(crate) fn apply(mut kubectl: Command, file: &Path) -> Result<()> {
    // By force, because `kubectl scale` owns the replicas afterwards; applied again, the file is what holds.
    kubectl.args(["apply", "--server-side", "--force-conflicts", "--filename"]).arg(file);
    run::output(&mut kubectl).map(drop)
}
