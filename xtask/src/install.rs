//! Installs the operator with Helm: the same chart and the same way as a user's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::images::archive::ImageRef;
use crate::progress::Progress;
use crate::tools::host;
use crate::tools::run;

/// The release, which also names the operator's Deployment.
pub(crate) const RELEASE: &str = "groupcache-operator";
/// Where the operator lives.
pub(crate) const NAMESPACE: &str = "groupcache-system";
/// The operator's own image is on the node; it starts within seconds.
const TIMEOUT: &str = "180s";

/// The chart's folder.
pub(crate) fn chart() -> PathBuf {
    host::workspace().join("charts").join(RELEASE)
}

/// Installs the operator, or upgrades it, and waits until it is ready.
///
/// # Errors
/// When Helm fails; its words are in the error.
pub(crate) fn operator(
    helm: Command,
    operator: &ImageRef,
    node: &ImageRef,
    progress: &Progress,
) -> Result<()> {
    progress.step("installing the operator with Helm", || {
        let mut helm = helm;
        helm.args(["upgrade", "--install", RELEASE]).arg(chart());
        helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", TIMEOUT]);
        for (value, text) in [
            ("image.repository", &operator.repository),
            ("image.tag", &operator.tag),
            ("nodeImage.repository", &node.repository),
            ("nodeImage.tag", &node.tag),
        ] {
            helm.arg("--set-string").arg(format!("{value}={text}"));
        }
        run::output(&mut helm).map(drop)
    })
}

/// Removes the operator and, if nobody has a CacheCluster any more, its CustomResourceDefinition, which Helm keeps.
///
/// # Errors
/// When Helm or kubectl fails.
pub(crate) fn uninstall(mut helm: Command, kubectl: impl Fn() -> Command) -> Result<()> {
    helm.args([
        "uninstall",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--wait",
        "--timeout",
        TIMEOUT,
    ]);
    run::output(&mut helm)?;
    let left = run::output(kubectl().args(["get", "cacheclusters", "--all-namespaces", "--output", "name"]));
    // No answer means that there is no such kind: nothing is left to remove.
    if left.is_ok_and(|left| left.trim().is_empty()) {
        run::output(kubectl().args(["delete", "crd", "cacheclusters.groupcache.dev", "--ignore-not-found"]))
            .context("removing the CustomResourceDefinition")?;
    }
    run::output(kubectl().args(["delete", "namespace", NAMESPACE, "--ignore-not-found"])).map(drop)
}
