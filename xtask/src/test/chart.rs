//! The Helm chart: it renders for every kind of user, the API server takes that, and bad values are refused.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::cluster::Cluster;
use crate::install;
use crate::test::world::World;
use crate::tools::run;

/// Where pretended installs go.
const NAMESPACE: &str = "chart-test";

/// What users of the chart set.
const RENDERED: &[(&str, &[&str])] = &[("defaults", &[]), ("two replicas", &["replicas=2"])];

/// What the schema must refuse, and words of the message.
const REFUSED: &[(&str, &str)] = &[("replicas=none", "replicas"), ("unknown=1", "unknown")];

/// Checks the chart.
///
/// # Errors
/// Names the values with which it fails.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    let progress = world.progress;
    let cluster = world.cluster()?;
    progress.step("helm lint --strict", || {
        run::output(cluster.helm().args(["lint", "--strict"]).arg(install::chart()))
    })?;
    for (what, values) in RENDERED {
        progress.step(&format!("rendered and taken by the API server: {what}"), || {
            let objects = template(cluster, values)?;
            dry_run(cluster, &objects).with_context(|| format!("values: {}", values.join(",")))
        })?;
    }
    for (value, told) in REFUSED {
        progress.step(&format!("refused: {value}"), || {
            let Err(error) = template(cluster, &[value]) else { bail!("accepted: {value}") };
            let text = format!("{error:#}");
            if text.contains(told) { Ok(()) } else { bail!("the message does not say {told:?}: {text}") }
        })?;
    }
    Ok(())
}

fn template(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let mut helm = cluster.helm();
    helm.args(["template", install::RELEASE]).arg(install::chart()).args(["--namespace", NAMESPACE]);
    for value in values {
        helm.args(["--set", value]);
    }
    run::output(&mut helm)
}

/// The API server checks every field of every object and keeps none.
fn dry_run(cluster: &Cluster, objects: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), objects)?;
    // A pretended object needs its namespace to be there.
    let namespace = run::output(cluster.kubectl().args([
        "create",
        "namespace",
        NAMESPACE,
        "--dry-run=client",
        "--output=yaml",
    ]))?;
    apply(cluster.kubectl().args(["apply", "--filename", "-"]), &namespace)?;
    let mut kubectl = cluster.kubectl();
    kubectl.args([
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--namespace",
        NAMESPACE,
        "--filename",
    ]);
    run::output(kubectl.arg(file.path())).map(drop)
}

fn apply(command: &mut Command, text: &str) -> Result<()> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().context("could not start kubectl")?;
    child.stdin.take().context("kubectl takes input")?.write_all(text.as_bytes())?;
    if !child.wait()?.success() {
        bail!("kubectl refused:\n{text}");
    }
    Ok(())
}
