//! A user's first hour: the HTTP loader in Python of the page `docs/your-own-loader.md`, run as the page says.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::CacheCluster;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::page;
use groupcache_e2e::program;
use groupcache_e2e::settings;

const FOLDER: &str = "examples/python-loader";
const IMAGE: &str = "docker.io/library/python:3.13-slim";

/// Turned red by: a step that the page leaves out, a loader kind `http` that does not unescape as the page says, a DELETE
/// that does not reach every node.
#[test]
fn the_page_on_your_own_loader_does_what_it_says() {
    scenario("own_loader", |kubectl| -> Result<String> {
        PodLoader::deploy(kubectl)?;
        kubectl.apply(&page::file("examples/quickstart/cachecluster.yaml")?)?;
        CacheCluster::found(kubectl).wait_converged(3)?;

        let script = with_free_ports(&page::script(&page::file("docs/your-own-loader.md")?, "sh cluster")?)?;
        let clone = clone_of_the_example(kubectl)?;
        let mut bash = Command::new("bash");
        bash.args(["-c", &script])
            .current_dir(clone.path())
            .env("KUBECONFIG", clone.path().join("kubeconfig"));
        bash.env("PATH", path_with_kubectl()?);
        let said = program::run(&mut bash, None)?;
        ensure!(said.success, "the page's commands failed: {}{}", said.output, said.errors);
        let commands = script.lines().count();
        Ok(format!(
            "the {commands} commands of docs/your-own-loader.md ran as written, a Python loader serves"
        ))
    });
}

/// The reader's clone, as far as the page uses it. Nothing can be pulled here, so the stock image is replaced by ours, as the
/// page tells the readers who have the same cluster.
fn clone_of_the_example(kubectl: &Kubectl) -> Result<tempfile::TempDir> {
    let python = settings::text("PYTHON_IMAGE")?;
    let told = format!("s|{IMAGE}|{python}|");
    ensure!(page::file("docs/your-own-loader.md")?.contains(&told), "the page does not say {told}");
    let clone = tempfile::tempdir()?;
    let folder = clone.path().join(FOLDER);
    fs::create_dir_all(&folder)?;
    for file in ["loader.py", "loader.yaml", "group.yaml"] {
        let text = page::file(&format!("{FOLDER}/{file}"))?;
        fs::write(folder.join(file), text.replace(IMAGE, &python))?;
    }
    // The reader's context names the namespace.
    let kubeconfig = clone.path().join("kubeconfig");
    fs::copy(settings::path("KUBECONFIG")?, &kubeconfig)?;
    let namespace = format!("--namespace={}", kubectl.namespace());
    let mut set = Command::new(settings::path("KUBECTL")?);
    program::output(
        set.arg("--kubeconfig").arg(&kubeconfig).args(["config", "set-context", "--current", &namespace]),
        None,
    )?;
    Ok(clone)
}

/// The page's ports may be taken on this machine.
fn with_free_ports(script: &str) -> Result<String> {
    let mut script = script.to_owned();
    for (port, forwarded) in [("8080", "8080"), ("8000", "80")] {
        let free = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        for (there, here) in [
            (format!(" {port}:{forwarded}"), format!(" {free}:{forwarded}")),
            (format!("127.0.0.1:{port}"), format!("127.0.0.1:{free}")),
        ] {
            ensure!(script.contains(&there), "the page does not use {there}");
            script = script.replace(&there, &here);
        }
    }
    Ok(script)
}

fn path_with_kubectl() -> Result<String> {
    let kubectl = settings::path("KUBECTL")?;
    let folder = kubectl.parent().context("kubectl is in a folder")?;
    Ok(format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default()))
}
