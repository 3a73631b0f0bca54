//! What a reader needs to understand a failed scenario: objects, events and logs, written into a folder.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::settings;

/// Lines of each log: enough for a scenario, bounded for a chatty one.
const LINES: &str = "--tail=5000";

/// Writes what is in the scenario's namespace, and what the operator said; returns the folder.
///
/// # Errors
/// When the folder cannot be written. What kubectl cannot tell is written as its error.
pub fn write(kubectl: &Kubectl, scenario: &str) -> Result<PathBuf> {
    let folder = settings::path("LOGS")?.join(scenario);
    fs::create_dir_all(&folder)?;
    let write = |kubectl: &Kubectl, file: &str, arguments: &[&str]| -> Result<()> {
        let said = kubectl.said(arguments)?;
        Ok(fs::write(folder.join(file), said.output + &said.errors)?)
    };
    write(kubectl, "pods.txt", &["get", "pods", "--output", "wide"])?;
    write(
        kubectl,
        "objects.yaml",
        &["get", "cc,statefulset,service,endpointslice,configmap", "--output", "yaml"],
    )?;
    write(kubectl, "describe.txt", &["describe", "cc,statefulset,pods"])?;
    write(kubectl, "events.txt", &["get", "events", "--sort-by", ".metadata.creationTimestamp"])?;
    let pods = kubectl.said(&["get", "pods", "--output", "name"])?.output;
    for pod in pods.lines() {
        let name = pod.trim_start_matches("pod/");
        write(kubectl, &format!("{name}.log"), &["logs", name, "--all-containers", "--timestamps", LINES])?;
        write(kubectl, &format!("{name}.previous.log"), &["logs", name, "--previous", LINES])?;
    }
    let operator = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
    write(
        &operator,
        "operator.log",
        &["logs", "--selector", "app.kubernetes.io/name=groupcache-operator", "--timestamps", LINES],
    )?;
    Ok(folder)
}
