//! What the operator keeps around the pods is made, repaired and removed, and a pause keeps its hands off.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, LABEL, NAME, Wanted, condition};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::program;
use groupcache_e2e::wait::{self, Seen};
use serde_json::{Value, json};

/// An eviction's drain, a repair, or the operator's next try at what was refused, on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);
/// The definition of a kind of the Prometheus operator's, as far as a PodMonitor of ours needs one.
const POD_MONITORS: &str = "podmonitors.monitoring.coreos.com";

/// Turned red by: a budget that selects no pods, drift that is not watched, orphans that stay, a kind that is not there and stops the rest, or a pause
/// in which a child is written or a pod does not come back into the ring; a client that tries a forbidden eviction again and again before it tells.
#[test]
fn what_is_around_the_pods_is_kept_and_a_pause_is_honoured() {
    scenario("upkeep", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let wanted = Wanted { replicas: 2, drain_seconds: 3, ..Wanted::three(loader.target()) };
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        budget_is_honoured(kubectl, &cluster)?;
        drift_is_repaired(kubectl)?;
        a_budget_that_forbids_is_told(kubectl, &cluster)?;
        a_missing_kind_is_told(kubectl)?;
        a_quota_is_told(kubectl, &cluster)?;
        a_pause_is_a_pause(kubectl, &cluster)?;
        Ok("the budget let one of two pods go, one that forbids was told, and a quota; drift repaired, orphans removed, a missing kind told; paused and taken up again".to_owned())
    });
}

fn budget_is_honoured(kubectl: &Kubectl, cluster: &CacheCluster<'_>) -> Result<()> {
    let allows = |pdb: &Value| pdb["status"]["disruptionsAllowed"] == 1;
    kubectl.wait(("pdb", NAME), "one disruption allowed", LIMIT, allows, |pdb| pdb["status"].to_string())?;
    let pods = cluster.pods()?;
    let first = evict(kubectl, &pods[0].name)?;
    ensure!(first.success, "{} could not be evicted: {}", pods[0].name, first.errors);
    let second = evict(kubectl, &pods[1].name)?;
    ensure!(!second.success, "{} was evicted beside {}", pods[1].name, pods[0].name);
    ensure!(second.errors.contains("disruption budget"), "the second eviction: {}", second.errors);
    cluster.wait_replaced(&pods[0])?;
    cluster.wait_converged(2)
}

fn evict(kubectl: &Kubectl, pod: &str) -> Result<program::Said> {
    let path = format!("/api/v1/namespaces/{}/pods/{pod}/eviction", kubectl.namespace());
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}});
    let mut command: Command = kubectl.command(&["create", "--raw", &path, "--filename", "-"]);
    program::run(&mut command, Some(&eviction.to_string()))
}

fn drift_is_repaired(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["patch", "pdb", NAME, "--type=merge", "--patch", r#"{"spec":{"maxUnavailable":2}}"#])?;
    kubectl.run(&["delete", "networkpolicy", NAME])?;
    let number = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 80}]"#;
    kubectl.run(&["patch", "service", NAME, "--type=json", "--patch", number])?;
    let ports = |it: &Value| {
        it["spec"]["ports"].as_array().is_some_and(|all| all.len() == 1)
            && it["spec"]["ports"][0]["port"] == 8080
    };
    kubectl.wait(("service", NAME), "its port", LIMIT, ports, |it| it["spec"]["ports"].to_string())?;
    let repaired = |pdb: &Value| pdb["spec"]["maxUnavailable"] == 1;
    kubectl.wait(("pdb", NAME), "as it was", LIMIT, repaired, |pdb| pdb["spec"].to_string())?;
    wait_count(kubectl, "networkpolicies", 1)?;
    set(
        kubectl,
        &json!({"networkPolicy": {"mode": "Disabled"}, "podDisruptionBudget": {"mode": "Disabled"}}),
    )?;
    wait_count(kubectl, "networkpolicies", 0)?;
    wait_count(kubectl, "poddisruptionbudgets", 0)
}

/// The cluster's own budget is not there at this point; this one is the user's.
fn a_budget_that_forbids_is_told(kubectl: &Kubectl, cluster: &CacheCluster<'_>) -> Result<()> {
    let before = cluster.pods()?;
    let selector = format!("--selector={LABEL}={NAME}");
    kubectl.run(&["create", "poddisruptionbudget", "mine", "--max-unavailable=0", &selector])?;
    let none = |pdb: &Value| pdb["status"]["expectedPods"] == 2 && pdb["status"]["disruptionsAllowed"] == 0;
    kubectl.wait(("pdb", "mine"), "none allowed", LIMIT, none, |pdb| pdb["status"].to_string())?;
    kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/restartedAt=now"])?;
    let told = |cc: &Value| message(cc, "Progressing").contains("may not be evicted now");
    kubectl.wait(("cc", NAME), "what keeps the pods", LIMIT, told, |cc| cc["status"].to_string())?;
    kubectl.run(&["delete", "pdb", "mine"])?;
    cluster.wait_all_replaced(&before)?;
    cluster.wait_converged(2)
}

fn a_missing_kind_is_told(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["delete", "crd", POD_MONITORS, "--ignore-not-found"])?;
    set(kubectl, &json!({"monitoring": {"podMonitor": {"mode": "Managed", "labels": {"release": "mine"}}}}))?;
    let told = |cc: &Value| message(cc, "Degraded").contains("there is no such kind here");
    kubectl.wait(("cc", NAME), "that there is no PodMonitor", LIMIT, told, |cc| cc["status"].to_string())?;
    let _definition = Definition::install(kubectl)?;
    wait_count(kubectl, "podmonitors", 1)?;
    let monitor = kubectl.get("podmonitors", NAME)?;
    ensure!(monitor["metadata"]["labels"]["release"] == "mine", "{monitor}");
    ensure!(monitor["spec"]["podMetricsEndpoints"][0]["port"] == "admin", "{monitor}");
    set(kubectl, &json!({"monitoring": null}))?;
    wait_count(kubectl, "podmonitors", 0)?;
    let well = |cc: &Value| message(cc, "Degraded").is_empty();
    kubectl.wait(("cc", NAME), "nothing wrong", LIMIT, well, |cc| cc["status"].to_string()).map(drop)
}

fn a_quota_is_told(kubectl: &Kubectl, cluster: &CacheCluster<'_>) -> Result<()> {
    // As many as there are: the scenario's loader and its like are pods, too.
    let there = kubectl.list("pods", "")?.len();
    kubectl.run(&["create", "quota", "tight", &format!("--hard=pods={there}")])?;
    let there = there.to_string();
    let counted = |quota: &Value| quota["status"]["used"]["pods"] == there.as_str();
    kubectl.wait(("quota", "tight"), "counted", LIMIT, counted, |quota| quota["status"].to_string())?;
    set(kubectl, &json!({"replicas": 3}))?;
    let told = |cc: &Value| {
        reason(cc, "Degraded") == "ObjectRefused" && message(cc, "Degraded").contains("exceeded quota: tight")
    };
    kubectl.wait(("cc", NAME), "the quota", LIMIT, told, |cc| cc["status"].to_string())?;
    kubectl.run(&["delete", "quota", "tight"])?;
    set(kubectl, &json!({"replicas": 2}))?;
    cluster.wait_converged(2)
}

fn a_pause_is_a_pause(kubectl: &Kubectl, cluster: &CacheCluster<'_>) -> Result<()> {
    let before = kubectl.get("statefulset", NAME)?;
    set(
        kubectl,
        &json!({"managementState": "Paused", "replicas": 3, "podDisruptionBudget": null, "groups": [
        {"name": "unicode", "maxBytes": "8Mi", "ttlSeconds": 60, "loaderName": "names"}]}),
    )?;
    let paused = |cc: &Value| {
        let withheld =
            reason(cc, "ConfigurationApplied") == "Paused" && reason(cc, "Progressing") == "Paused";
        let seen = cc["status"]["observedGeneration"] == cc["metadata"]["generation"];
        seen && withheld && reason(cc, "Paused") == "Paused"
    };
    kubectl.wait(("cc", NAME), "paused", LIMIT, paused, |cc| cc["status"].to_string())?;
    // The ring follows the pods all the same.
    let gone = cluster.pods()?.swap_remove(1);
    kubectl.run(&["delete", "pod", &gone.name, "--wait=false"])?;
    cluster.wait_replaced(&gone)?;
    let whole = |cc: &Value| {
        cc["status"]["membership"]["active"] == 2
            && reason(cc, "RingConverged") == "Converged"
            && reason(cc, "Paused") == "Paused"
    };
    kubectl.wait(("cc", NAME), "two nodes in the ring", LIMIT, whole, |cc| cc["status"].to_string())?;
    let after = kubectl.get("statefulset", NAME)?;
    ensure!(before["spec"] == after["spec"], "the StatefulSet was changed in the pause: {after}");
    wait_count(kubectl, "poddisruptionbudgets", 0)?;

    set(kubectl, &json!({"managementState": "Managed"}))?;
    wait_count(kubectl, "poddisruptionbudgets", 1)?;
    cluster.wait_converged(3)?;
    let cc = kubectl.get("cc", NAME)?;
    ensure!(reason(&cc, "Paused") == "Managed", "{}", cc["status"]);
    Ok(())
}

fn set(kubectl: &Kubectl, spec: &Value) -> Result<()> {
    let patch = json!({ "spec": spec }).to_string();
    kubectl.run(&["patch", "cc", NAME, "--type=merge", "--patch", &patch]).map(drop)
}

fn wait_count(kubectl: &Kubectl, kind: &str, wanted: usize) -> Result<()> {
    wait::until(&format!("{wanted} {kind}"), LIMIT, || {
        let found = kubectl.list(kind, &format!("{LABEL}={NAME}"))?.len();
        Ok(if found == wanted { Seen::Reached(()) } else { Seen::NotYet(format!("{found}")) })
    })
}

fn reason(cc: &Value, kind: &str) -> String {
    condition(cc, kind)["reason"].as_str().unwrap_or_default().to_owned()
}

fn message(cc: &Value, kind: &str) -> String {
    condition(cc, kind)["message"].as_str().unwrap_or_default().to_owned()
}

/// A definition of PodMonitor, gone when this is: other scenarios run without.
struct Definition<'a>(&'a Kubectl);

impl<'a> Definition<'a> {
    fn install(kubectl: &'a Kubectl) -> Result<Self> {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version =
            json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
        let names = json!({"kind": "PodMonitor", "listKind": "PodMonitorList", "plural": "podmonitors", "singular": "podmonitor"});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": POD_MONITORS},
            "spec": {"group": "monitoring.coreos.com", "scope": "Namespaced", "names": names, "versions": [version]},
        });
        kubectl.apply(&definition.to_string())?;
        let definition = Self(kubectl);
        kubectl
            .run(&["wait", "--for=condition=Established", &format!("crd/{POD_MONITORS}"), "--timeout=60s"])
            .context("the definition of PodMonitor")?;
        Ok(definition)
    }
}

impl Drop for Definition<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.run(&["delete", "crd", POD_MONITORS, "--wait=false"]) {
            eprintln!("warning: the definition of PodMonitor was not removed ({error:#})");
        }
    }
}
