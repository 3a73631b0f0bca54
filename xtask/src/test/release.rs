//! The life of a release: installed from an earlier chart, upgraded, tested, uninstalled, installed again.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use walkdir::WalkDir;

use crate::cluster::Cluster;
use crate::images::build::Images;
use crate::install::{self, NAMESPACE, RELEASE};
use crate::progress::Progress;
use crate::tools::run;

/// A field of the spec that the earlier release did not know.
const LATER_FIELD: &str = "managementState";
/// The definition within the chart.
const DEFINITION: &str = "templates/crds/cacheclusters.yaml";
/// A CacheCluster by namespace and name.
type Object = (&'static str, &'static str);
/// A user's object.
const KEPT: Object = ("default", "kept");
/// Another's, in a namespace that an operator watches alone.
const WATCHED: Object = ("release-watched", "watched");
/// How long an operator may take to look at it.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Goes through it all, and leaves the operator installed.
///
/// # Errors
/// Names what did not hold.
pub(crate) fn life(cluster: &Cluster, images: &Images, progress: &Progress) -> Result<()> {
    let with = |chart: &Path, values: &[(&str, &str)]| {
        install::from(chart, cluster.helm(), &images.operator, &images.node, values)
    };
    let from = |chart: &Path| with(chart, &[]);
    let earlier = tempfile::tempdir()?;
    earlier_chart(&install::chart(), earlier.path())?;
    progress.step("an earlier chart is installed, and someone has a CacheCluster", || {
        from(earlier.path())?;
        make(cluster, KEPT)
    })?;
    let made = get(cluster, KEPT)?;
    progress.step("helm test names what the definition of another release lacks", || {
        match tested(cluster).map_err(|error| format!("{error:#}")) {
            Ok(()) => bail!("it is content with a definition that lacks {LATER_FIELD}"),
            Err(told) if told.contains(&format!("lacks v1alpha1 .spec.{LATER_FIELD}:")) => Ok(()),
            Err(told) => bail!("it does not say so: {told}"),
        }
    })?;
    progress.step("upgraded: the definition too, and the object is what it was", || {
        from(&install::chart())?;
        same(&made, &get(cluster, KEPT)?)
    })?;
    progress.step("helm test", || tested(cluster))?;
    progress.step("uninstalled: the definition and the object stay", || {
        run::output(cluster.helm().args(["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]))?;
        same(&made, &get(cluster, KEPT)?)
    })?;
    progress.step("installed for one namespace, with rights there only: the others are let be", || {
        run::output(cluster.kubectl().args(["create", "namespace", WATCHED.0]))?;
        with(&install::chart(), &[("watch.namespace", WATCHED.0)])?;
        tested(cluster)?;
        change(cluster, KEPT)?;
        make(cluster, WATCHED)?;
        if seen(cluster, KEPT)?.is_ok() {
            bail!("the operator of {} looked at the CacheCluster of {}", WATCHED.0, KEPT.0);
        }
        run::output(cluster.kubectl().args(["delete", "namespace", WATCHED.0])).map(drop)
    })?;
    progress.step("for all namespaces again: what was let be is taken up", || {
        from(&install::chart())?;
        taken_up(cluster, KEPT)?;
        run::output(about(cluster, KEPT, "delete").args(["cachecluster", KEPT.1])).map(drop)
    })
}

/// `helm test`, as a user runs it.
fn tested(cluster: &Cluster) -> Result<()> {
    let test = ["test", RELEASE, "--namespace", NAMESPACE, "--logs", "--timeout", "150s"];
    run::output(cluster.helm().args(test)).map(drop)
}

/// A copy of the chart with an earlier version, whose definition lacks a field.
fn earlier_chart(chart: &Path, folder: &Path) -> Result<()> {
    for entry in WalkDir::new(chart) {
        let entry = entry?;
        let to = folder.join(entry.path().strip_prefix(chart)?);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&to)?;
        } else {
            fs::copy(entry.path(), &to).with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    let edit = |file: &str, edit: &dyn Fn(&str) -> String| -> Result<()> {
        let text = fs::read_to_string(folder.join(file))?;
        let edited = edit(&text);
        if edited == text {
            bail!("{file} of the chart has nothing to make earlier");
        }
        Ok(fs::write(folder.join(file), edited)?)
    };
    edit("Chart.yaml", &|text| text.replacen("\nversion: ", "\nversion: 0.0.0-earlier.", 1))?;
    edit(DEFINITION, &|text| without(text, LATER_FIELD))
}

/// The YAML without this key and what lies below it.
fn without(yaml: &str, key: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut below: Option<usize> = None;
    let keep = |line: &&str| {
        let is_item = line.trim_start().starts_with("- ");
        if below.is_some_and(|depth| indent(line) > depth || (is_item && indent(line) == depth)) {
            return false;
        }
        below = (line.trim() == format!("{key}:")).then(|| indent(line));
        below.is_none()
    };
    yaml.split_inclusive('\n').filter(keep).collect()
}

fn about(cluster: &Cluster, object: Object, verb: &str) -> Command {
    let mut kubectl = cluster.kubectl();
    kubectl.args(["--namespace", object.0, verb]);
    kubectl
}

/// Makes a CacheCluster that needs no pod, and waits until an operator has looked at it.
fn make(cluster: &Cluster, object: Object) -> Result<()> {
    let text = json!({
        "apiVersion": "groupcache.dev/v1alpha1",
        "kind": "CacheCluster",
        "metadata": {"name": object.1},
        "spec": {"replicas": 0},
    });
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), text.to_string())?;
    run::output(about(cluster, object, "apply").arg("--filename").arg(file.path()))?;
    taken_up(cluster, object)
}

/// A change that an operator must look at.
fn change(cluster: &Cluster, object: Object) -> Result<()> {
    let change = json!({"spec": {"memory": {"cachePercent": 60}}}).to_string();
    let change = ["cachecluster", object.1, "--type=merge", "--patch", &change];
    run::output(about(cluster, object, "patch").args(change)).map(drop)
}

fn get(cluster: &Cluster, object: Object) -> Result<Value> {
    let said =
        run::output(about(cluster, object, "get").args(["cachecluster", object.1, "--output", "json"]))?;
    serde_json::from_str(&said).context("reading the CacheCluster")
}

/// The same object; what a later definition adds by default is its own.
fn same(before: &Value, after: &Value) -> Result<()> {
    for field in ["/metadata/uid", "/spec/replicas"] {
        if before.pointer(field) != after.pointer(field) {
            bail!(
                "{field} of the CacheCluster was {:?}, and is {:?}",
                before.pointer(field),
                after.pointer(field)
            );
        }
    }
    Ok(())
}

/// Whether an operator has told what it made of the object as it is now; if not, of which generation it told last.
fn seen(cluster: &Cluster, object: Object) -> Result<Result<(), String>> {
    let object = get(cluster, object)?;
    let generation = |at: &str| object.pointer(at).and_then(Value::as_i64);
    let (wanted, seen) = (generation("/metadata/generation"), generation("/status/observedGeneration"));
    let told = format!("it is at generation {wanted:?}, its status at {seen:?}");
    Ok(if wanted == seen { Ok(()) } else { Err(told) })
}

fn taken_up(cluster: &Cluster, object: Object) -> Result<()> {
    let started = Instant::now();
    while let Err(told) = seen(cluster, object)? {
        if started.elapsed() >= PATIENCE {
            bail!("no operator looked at {object:?} within {PATIENCE:?}: {told}");
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_chart_lacks_the_field_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        earlier_chart(&install::chart(), folder.path()).unwrap();
        let read = |path: &Path| fs::read_to_string(path.join(DEFINITION)).unwrap();
        let (now, earlier) = (read(&install::chart()), read(folder.path()));
        let gone: Vec<&str> = now.lines().filter(|line| !earlier.contains(line)).map(str::trim).collect();
        assert_eq!(gone[0], "managementState:");
        assert!(earlier.lines().count() + 12 > now.lines().count(), "{gone:?}");
    }

    #[test]
    fn a_key_goes_with_all_that_lies_below_it() {
        let yaml = "a:\n  b:\n    c:\n    - 1\n    d: 2\n  e: 3\nb:\n- 1\n";
        assert_eq!(without(yaml, "b"), "a:\n  e: 3\n");
        assert_eq!(without(yaml, "c"), "a:\n  b:\n    d: 2\n  e: 3\nb:\n- 1\n");
    }
}
