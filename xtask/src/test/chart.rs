//! The Helm chart: it renders for every kind of user, the API server takes that, and bad values are refused.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::cluster::Cluster;
use crate::install;
use crate::test::examples;
use crate::test::world::World;
use crate::tools::run;

/// Where pretended installs go, and where their operator looks.
const NAMESPACES: [&str; 2] = ["chart-test", "chart-test-team"];

/// What users of the chart set.
const RENDERED: &[(&str, &[&str])] = &[
    ("as it is", &[]),
    ("one operator", &["replicas=1"]),
    ("one namespace only", &["watch.namespace=chart-test-team"]),
    ("the CRD is somebody else's", &["crds.enabled=false"]),
    ("the CRD goes with the release", &["crds.keep=false"]),
    (
        "an account of one's own",
        &["serviceAccount.create=false", "serviceAccount.name=mine", "rbac.create=false"],
    ),
    ("no aggregated roles", &["rbac.aggregate=false"]),
    ("another name", &["fullnameOverride=cache-operator"]),
    (
        "images by digest",
        &["image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000"],
    ),
    (
        "a dashboard",
        &["dashboard.enabled=true", "dashboard.labels.team=cache", "dashboard.annotations.folder=Caches"],
    ),
    ("places and secrets", &["nodeSelector.disk=fast", "imagePullSecrets[0].name=pull", "log.format=text"]),
    (
        "more places",
        &[
            "tolerations[0].key=cache",
            "tolerations[0].operator=Exists",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key=disk",
            "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator=Exists",
            "topologySpreadConstraints[0].maxSkew=1",
            "topologySpreadConstraints[0].topologyKey=zone",
            "topologySpreadConstraints[0].whenUnsatisfiable=DoNotSchedule",
            "priorityClassName=system-cluster-critical",
        ],
    ),
    (
        "other images",
        &[
            "image.repository=mine/operator",
            "image.tag=v1",
            "image.pullPolicy=Always",
            "nodeImage.repository=mine/node",
            "nodeImage.tag=v2",
        ],
    ),
    (
        "nodes' image by digest",
        &["nodeImage.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000"],
    ),
    (
        "marks and resources",
        &[
            "podAnnotations.team=cache",
            "podLabels.team=cache",
            "serviceAccount.annotations.team=cache",
            "resources.requests.cpu=50m",
            "resources.limits.memory=256Mi",
            "nameOverride=caches",
            "log.filter=debug",
            "podDisruptionBudget.enabled=false",
        ],
    ),
    (
        "flags, environment and objects of one's own",
        &[
            "extraArgs[0]=--concurrency=16",
            "extraEnv[0].name=RUST_BACKTRACE",
            "extraEnv[0].value=full",
            "extraObjects[0].apiVersion=v1",
            "extraObjects[0].kind=ConfigMap",
            "extraObjects[0].metadata.name=mine",
            "extraObjects[0].metadata.namespace=chart-test",
            "extraObjects[0].data.where=in {{ .Release.Namespace }}",
        ],
    ),
];

/// What users set who have Prometheus' operator.
const MONITORED: &[&str] = &[
    "podMonitor.enabled=true",
    "podMonitor.interval=15s",
    "podMonitor.labels.release=prometheus",
    "prometheusRule.enabled=true",
    "prometheusRule.labels.team=cache",
    "prometheusRule.runbookUrl=https://runbooks.example/groupcache",
    "prometheusRule.disabled[0]=GroupcacheClusterPaused",
];

/// What the schema must refuse, and a word of the message.
const REFUSED: &[(&str, &str)] = &[
    ("replicas=none", "replicas"),
    ("replicas=6", "replicas"),
    ("replcas=2", "replcas"),
    ("image.pullPolicy=Sometimes", "pullPolicy"),
    ("image.digest=abc", "digest"),
    ("log.format=xml", "format"),
    ("extraObjects=all", "extraObjects"),
    ("podMonitor.interval=often", "interval"),
    ("prometheusRule.runbookUrl=runbooks", "runbookUrl"),
    ("prometheusRule.disabled[0]=Paused", "disabled"),
    ("dashboard.enabled=yes", "dashboard"),
    ("dashboard.lables.team=cache", "lables"),
];

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
    make_namespaces(cluster)?;
    for (what, values) in RENDERED {
        progress.step(&format!("rendered and taken by the API server: {what}"), || {
            let objects = template(cluster, values)?;
            dry_run(cluster, &objects).with_context(|| format!("values: {}", values.join(",")))
        })?;
    }
    progress.step("rendered: alerts and a monitor, kinds that this API server does not know", || {
        monitoring(cluster)
    })?;
    progress.step("rendered: the dashboard, to the letter", || dashboard(cluster))?;
    for (value, told) in REFUSED {
        progress.step(&format!("refused: {value}"), || {
            let Err(error) = template(cluster, &[value]) else { bail!("accepted: {value}") };
            let text = format!("{error:#}");
            if text.contains(told) { Ok(()) } else { bail!("the message does not say {told:?}: {text}") }
        })?;
    }
    examples::run(cluster, NAMESPACES[0], progress)
}

/// Braces in the alerts are Prometheus', not Helm's.
fn monitoring(cluster: &Cluster) -> Result<()> {
    let objects = template(cluster, MONITORED)?;
    let whole = [
        "kind: PodMonitor",
        "release: prometheus",
        "interval: 15s",
        "honorLabels: true",
        "kind: PrometheusRule",
        "team: cache",
        "alert: GroupcacheNobodyLeads",
        "runbook_url: https://runbooks.example/groupcache#groupcachenobodyleads",
        "{{ $labels.cluster }}",
    ];
    if let Some(part) = whole.iter().find(|part| !objects.contains(**part)) {
        bail!("it lacks {part}");
    }
    if let Some(part) =
        ["GroupcacheClusterPaused", "groupcache.dev/docs"].iter().find(|p| objects.contains(**p))
    {
        bail!("it has {part}, which was replaced or left out");
    }
    let objects = template(cluster, &["prometheusRule.enabled=true"])?;
    if !objects
        .contains("runbook_url: https://groupcache.dev/docs/operations/alerts.md#groupcacheclusterpaused")
    {
        bail!("without a place for the runbooks they are not below the chart's home");
    }
    let strange = ["prometheusRule.enabled=true", "prometheusRule.disabled[0]=GroupcacheNoAlert"];
    match template(cluster, &strange) {
        Err(error) if format!("{error:#}").contains("GroupcacheNoAlert") => Ok(()),
        _ => bail!("an alert that there is not may be left out"),
    }
}

/// Braces in it are Grafana's, not Helm's.
fn dashboard(cluster: &Cluster) -> Result<()> {
    let objects = template(cluster, &["dashboard.enabled=true", "dashboard.annotations.folder=Caches"])?;
    let text = fs::read_to_string(install::chart().join("dashboards/groupcache.json"))?;
    let block: String = text.trim_end().lines().map(|line| format!("    {line}\n")).collect();
    for part in ["grafana_dashboard: \"1\"", "folder: Caches"] {
        if !objects.contains(part) {
            bail!("it lacks {part}");
        }
    }
    if objects.contains(&block) { Ok(()) } else { bail!("it is not the text of dashboards/groupcache.json") }
}

fn template(cluster: &Cluster, values: &[&str]) -> Result<String> {
    let mut helm = cluster.helm();
    // The pod of `helm test` needs an account that is there: the Kubernetes tier runs it.
    helm.args(["template", install::RELEASE, "--skip-tests"]);
    helm.arg(install::chart()).args(["--namespace", NAMESPACES[0]]);
    for value in values {
        helm.args(["--set", value]);
    }
    run::output(&mut helm)
}

/// The API server checks every field of every object and keeps none.
fn dry_run(cluster: &Cluster, objects: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), objects)?;
    let mut kubectl = cluster.kubectl();
    // A release that is installed already (`--keep`) owns the same fields: this is only a pretence.
    kubectl.args([
        "apply",
        "--server-side",
        "--dry-run=server",
        "--force-conflicts",
        "--validate=strict",
        "--filename",
    ]);
    run::output(kubectl.arg(file.path())).map(drop)
}

/// A pretended object needs its namespace to be there.
fn make_namespaces(cluster: &Cluster) -> Result<()> {
    for name in NAMESPACES {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), namespace.to_string())?;
        run::output(cluster.kubectl().args(["apply", "--filename"]).arg(file.path()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
