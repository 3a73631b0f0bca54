//! The examples that users copy: a real API server takes each of them, knows every field, and has nothing to warn of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use walkdir::WalkDir;

use crate::cluster::Cluster;
use crate::install;
use crate::progress::Progress;
use crate::quickstart;
use crate::tidy::quotes;
use crate::tools::{host, run};

/// The definition that the examples are judged by, from the repository's root.
const DEFINITION: &str = "crds/cacheclusters.yaml";
/// An example that adds to the quickstart's object: by itself it is no whole one.
const ADDITION: &str = "examples/python-loader/group.yaml";
/// How the addition itself says that it is applied.
const AS_ANOTHER: [&str; 2] = ["--server-side", "--field-manager=users"];
/// Pages whose YAML is to be pasted. What other pages show is a file of `examples/`, to the letter; `cargo xtask tidy` holds that.
const PAGES: [&str; 1] = ["docs/install.md"];
/// How long the API server may take to serve objects of a definition that it has taken.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Pretends to apply every example in this namespace, and leaves nothing behind.
///
/// # Errors
/// Names the example, and what the API server says to it.
pub(crate) fn run(cluster: &Cluster, namespace: &str, progress: &Progress) -> Result<()> {
    let was_there = install::is_defined(cluster.kubectl())?;
    let taken = define(cluster).and_then(|()| take_all(cluster, namespace, progress));
    // The release of a later tier brings the definition itself, and takes over nobody else's.
    if was_there {
        taken
    } else {
        taken.and(run::output(about(cluster, "delete").arg(definition())).map(drop))
    }
}

fn definition() -> PathBuf {
    host::workspace().join(DEFINITION)
}

fn about(cluster: &Cluster, verb: &str) -> Command {
    let mut kubectl = cluster.kubectl();
    kubectl.args([verb, "--filename"]);
    kubectl
}

fn define(cluster: &Cluster) -> Result<()> {
    let mut apply = about(cluster, "apply");
    run::output(apply.arg(definition()).args(["--server-side", "--force-conflicts"]))?;
    let began = Instant::now();
    while let Err(error) = run::output(cluster.kubectl().args(["get", "cacheclusters"])) {
        if began.elapsed() > PATIENCE {
            return Err(error).context("the definition is there, and its objects are not served");
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

fn take_all(cluster: &Cluster, namespace: &str, progress: &Progress) -> Result<()> {
    for file in files(host::workspace())? {
        progress.step(&format!("taken by the API server: {file}"), || {
            let path = host::workspace().join(&file);
            if file == ADDITION { add(cluster, namespace, &path) } else { take(cluster, namespace, &path) }
        })?;
    }
    for page in PAGES {
        let text = fs::read_to_string(host::workspace().join(page))?;
        for block in quotes::blocks(&text).iter().filter(|block| block.language == "yaml") {
            progress.step(&format!("taken by the API server: {page}, line {}", block.line), || {
                let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
                fs::write(file.path(), &block.text)?;
                take(cluster, namespace, file.path())
            })?;
        }
    }
    Ok(())
}

/// Every field is checked, an unknown or doubled one is an error, and so is a warning.
fn take(cluster: &Cluster, namespace: &str, file: &Path) -> Result<()> {
    let mut apply = about(cluster, "apply");
    apply.arg(file).args(["--namespace", namespace, "--server-side", "--dry-run=server"]);
    // Another manager than the base's, as the example itself says; and with `--keep` there may be a quickstart.
    apply.args([
        "--field-manager=examples",
        "--force-conflicts",
        "--validate=strict",
        "--warnings-as-errors",
    ]);
    run::output(&mut apply).map(drop)
}

/// Twice and in earnest: what the first apply takes from the base's owner the second one would miss.
fn add(cluster: &Cluster, namespace: &str, file: &Path) -> Result<()> {
    let base = quickstart::path(quickstart::CLUSTER_FILE);
    let mut kubectl = cluster.kubectl();
    kubectl.args(["--namespace", namespace]);
    quickstart::apply(kubectl, &base)?;
    let again = || {
        let mut apply = about(cluster, "apply");
        run::output(apply.arg(file).args(["--namespace", namespace]).args(AS_ANOTHER)).map(drop)
    };
    let taken = again().and_then(|()| again()).and_then(|()| take(cluster, namespace, file));
    let delete = run::output(about(cluster, "delete").arg(&base).args(["--namespace", namespace])).map(drop);
    taken.and(delete)
}

/// All of `examples/`, from the repository's root, in the order of the alphabet.
fn files(root: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in WalkDir::new(root.join("examples")).sort_by_file_name() {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "yaml") {
            found.push(entry.path().strip_prefix(root)?.display().to_string());
        }
    }
    // A rule about files that are elsewhere now would protect nothing.
    if !found.iter().any(|file| file == ADDITION) {
        bail!("{ADDITION} is not there any more; xtask/src/test/examples.rs names it");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_found_and_every_page_has_something_to_paste() {
        let files = files(host::workspace()).unwrap();

        assert!(files.contains(&"examples/cacheclusters/production.yaml".to_owned()), "{files:?}");
        let says = fs::read_to_string(host::workspace().join(ADDITION)).unwrap();
        assert!(says.contains(&AS_ANOTHER.join(" ")), "{ADDITION} says another command");
        for page in PAGES {
            let text = fs::read_to_string(host::workspace().join(page)).unwrap();
            assert!(quotes::blocks(&text).iter().any(|block| block.language == "yaml"), "{page}");
        }
    }
}
