//! Installs the operator with Helm: the same chart and the same way as a user's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

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

/// What makes the API server know CacheClusters.
const DEFINITION: &str = "cacheclusters.groupcache.dev";

/// Whether the API server knows CacheClusters: where it does not, kubectl fails on each of them.
///
/// # Errors
/// When it does not answer.
pub(crate) fn is_defined(mut kubectl: Command) -> Result<bool> {
    kubectl.args(["get", "crd", DEFINITION, "--ignore-not-found", "--output", "name"]);
    Ok(!run::output(&mut kubectl)?.trim().is_empty())
}

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
    progress.step("installing the operator with Helm", || from(&chart(), helm, operator, node, &[]))
}

/// Installs or upgrades it from this chart, with further values.
///
/// # Errors
/// As [`operator`].
pub(crate) fn from(
    chart: &Path,
    mut helm: Command,
    operator: &ImageRef,
    node: &ImageRef,
    values: &[(&str, &str)],
) -> Result<()> {
    helm.args(["upgrade", "--install", RELEASE]).arg(chart);
    helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", TIMEOUT]);
    let images = [
        ("image.repository", operator.repository.as_str()),
        ("image.tag", &operator.tag),
        ("nodeImage.repository", &node.repository),
        ("nodeImage.tag", &node.tag),
    ];
    for (value, text) in images.iter().chain(values) {
        helm.arg("--set-string").arg(format!("{value}={text}"));
    }
    run::output(&mut helm).map(drop)
}

/// Installs everything of the chart but the operator's pods: the definition, and the account with its roles.
///
/// # Errors
/// When Helm fails; its words are in the error.
pub(crate) fn without_operator(helm: Command, progress: &Progress) -> Result<()> {
    progress.step("installing the chart without the operator", || {
        let mut helm = helm;
        helm.args(["upgrade", "--install", RELEASE]).arg(chart()).args(["--set", "replicas=0"]);
        helm.args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", TIMEOUT]);
        run::output(&mut helm).map(drop)
    })
}

/// Removes the operator and its CustomResourceDefinition, which Helm keeps.
///
/// # Errors
/// When somebody still has a CacheCluster, who needs both; or when Helm or kubectl fails.
pub(crate) fn uninstall(mut helm: Command, kubectl: impl Fn() -> Command) -> Result<()> {
    if is_defined(kubectl())? {
        let mut others = kubectl();
        let format = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}";
        others.args(["get", "cacheclusters", "--all-namespaces", "--output", format]);
        let others = run::output(&mut others)?;
        if !others.trim().is_empty() {
            bail!("the operator stays, because other CacheClusters need it: {}", others.trim());
        }
    }
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
    run::output(kubectl().args(["delete", "crd", DEFINITION, "--ignore-not-found"]))
        .context("removing the CustomResourceDefinition")?;
    run::output(kubectl().args(["delete", "namespace", NAMESPACE, "--ignore-not-found"])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubectl that knows what `said` maps parts of its command line to.
    fn kubectl(said: &str) -> Command {
        let mut kubectl = Command::new("sh");
        kubectl.args(["-c", &format!("case \"$*\" in {said} esac"), "kubectl"]);
        kubectl
    }

    #[test]
    fn the_operator_stays_while_others_have_a_cache_cluster() {
        let others = || kubectl("*'get crd'*) echo crd;; *'get cacheclusters'*) echo team/orders;;");

        // A Helm that fails shows that it is not even asked.
        let told = uninstall(Command::new("false"), others).unwrap_err().to_string();

        assert!(told.contains("team/orders"), "{told}");
    }

    #[test]
    fn what_is_not_defined_any_more_is_no_reason_to_fail() {
        uninstall(Command::new("true"), || kubectl("*'get cacheclusters'*) exit 1;;")).unwrap();
    }
}
