//! The scenarios of `e2e/tests/kubernetes` on a real Kubernetes, with the operator installed as a user installs it.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::Cluster;
use crate::images::python;
use crate::install;
use crate::test::world::{self, World};
use crate::test::{rbac, registry, release};
use crate::tools;

/// Runs the scenarios; each says in one line what it saw.
///
/// # Errors
/// When one fails; what was there when it failed is in the folder that is named. Or when the operator has other rights than it needs.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    let progress = world.progress;
    tools::ensure_test_tools(progress)?;
    let logs = world.logs("kubernetes")?;
    let only = world.only.clone();
    let mut command = world.scenarios("kubernetes", &logs)?;
    let programs = world.programs()?;
    if only.is_none() {
        registry::run(progress)?;
    }
    let (cluster, images) = world.cluster_with_images()?;
    let python = python::load(cluster, progress)?;
    // Who asks for one scenario waits for that alone.
    let installed = match &only {
        None => release::life(cluster, images, progress),
        Some(_) => install::operator(cluster.helm(), &images.operator, &images.node, progress),
    };
    installed
        .inspect_err(|_| operators_state(cluster, &logs))
        .with_context(|| format!("the operator's state is in {}", logs.display()))?;
    let kubectl = cluster.kubectl();
    let images = [("LOADER", &images.unicode_loader), ("CTL", &images.ctl), ("PYTHON", &python)];
    for (name, image) in images {
        command.env(format!("GROUPCACHE_E2E_{name}_IMAGE"), image.to_string());
    }
    command
        .env("GROUPCACHE_E2E_KUBECTL", kubectl.get_program())
        .env("GROUPCACHE_E2E_KUBECONFIG", cluster.kubeconfig())
        .env(
            "GROUPCACHE_E2E_GROUPCACHECTL",
            programs.get("groupcachectl").context("groupcachectl was built")?,
        )
        .env("GROUPCACHE_E2E_NETWORK", cluster.network())
        .env("GROUPCACHE_E2E_XTASK", env::current_exe().context("this program has no path")?)
        .env("GROUPCACHE_E2E_CLUSTER", world::CLUSTER)
        .env("GROUPCACHE_E2E_CLUSTER_PIDS", cluster.pids())
        .env("GROUPCACHE_E2E_MACHINES", cluster.nodes().join(" "))
        .env("GROUPCACHE_E2E_CLUSTER_LOGS", cluster.logs())
        .env("GROUPCACHE_E2E_OPERATOR_NAMESPACE", install::NAMESPACE)
        .env("GROUPCACHE_E2E_OPERATOR_DEPLOYMENT", install::RELEASE);
    let told = format!(
        "what was there is in {}, the cluster's own logs in {}",
        logs.display(),
        cluster.logs().display()
    );
    let ran = world.run(&mut command).context(told);
    // Also after a failure: a right that is missing may be the reason.
    let whole = ran.is_ok() && only.is_none();
    let cluster = world.cluster()?;
    let judged = progress.step("the rights of the operator's account", || rbac::check(cluster, whole));
    match (ran, judged) {
        (Err(error), Err(rights)) => Err(error).context(format!("{rights:#}")),
        (ran, judged) => ran.and(judged),
    }
}

/// For a reader of a failed install; nothing to do if even this fails.
fn operators_state(cluster: &Cluster, logs: &Path) {
    for (file, arguments) in [
        ("operator-pods.txt", ["describe", "pods"].as_slice()),
        (
            "operator.log",
            &["logs", "--selector", "app.kubernetes.io/name=groupcache-operator", "--tail=5000"],
        ),
    ] {
        let said = cluster.kubectl().args(["--namespace", install::NAMESPACE]).args(arguments).output();
        if let Ok(said) = said {
            fs::write(logs.join(file), [said.stdout, said.stderr].concat()).ok();
        }
    }
}
