//! The data port is closed while it runs, by Secrets that come late; a token is replaced, and rights are denied.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted};
use groupcache_e2e::forward::Forward;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::program::{self, Said};
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::settings;
use groupcache_e2e::wait::{self, Seen};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

/// A Secret reaches its pods within a kubelet's sync, twice, and nodes look at their files every few seconds.
const LIMIT: Duration = Duration::from_secs(240);

/// The name in the certificate, which nobody resolves here.
const SERVER: &str = "cache.shop.example";

const FIRST: &str = "reader-0123456789abcdef";
const SECOND: &str = "reader-of-tomorrow-0123456789";
const WRITER: &str = "writer-0123456789abcdef";

/// Turned red by: a template that is rolled out before its Secrets are there, an operator that does not look again, a node that does not read its tokens
/// again, or a call that is not asked for its right.
#[test]
fn the_data_port_is_closed_by_secrets_that_come_late() {
    scenario("data_port", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let mut wanted = Wanted::three(loader.target());
        wanted.drain_seconds = 5;
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let before = cluster.pods()?;

        let files = tempfile::tempdir()?;
        certificate(&files)?;
        let closed = json!({"spec": {
            "tls": {"data": {"secretName": "shown"}},
            "access": {"secretName": "tokens", "tokens": [
                {"name": "reader", "groups": ["unicode"], "verbs": ["Get"]},
                {"name": "writer", "verbs": ["Get", "Set", "Remove"]},
            ]},
        }});
        kubectl.run(&["patch", "cc", NAME, "--type", "merge", "--patch", &closed.to_string()])?;
        let told = cluster.wait_condition("ConfigurationApplied", "False", "SecretPending")?;
        ensure!(told.contains("shown") && told.contains("tokens"), "{told}");
        let open = Forward::open(kubectl, &before[0].name, 8080)?;
        let said = get(&open, None, None)?;
        ensure!(said.output == "CRAB", "the pods that run do not answer: {said:?}");
        drop(open);
        let waiting = cluster.pods()?;
        ensure!(before == waiting, "pods changed for want of a Secret: before {before:?}, after {waiting:?}");

        let began = Instant::now();
        tokens(kubectl, FIRST)?;
        let read = |name: &str| std::fs::read_to_string(files.path().join(name)).context("a certificate");
        let shown = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shown"}, "type": "kubernetes.io/tls",
            "stringData": {"tls.crt": read("shown.pem")?, "tls.key": read("shown.key")?},
        });
        kubectl.apply(&shown.to_string())?;
        cluster.wait_all_replaced(&before)?;
        cluster.wait_condition("ConfigurationApplied", "True", "Applied")?;
        // The operator may have looked between the two Secrets: then the pods are replaced twice.
        cluster.wait_condition("Progressing", "False", "Complete")?;
        cluster.wait_converged(3)?;
        let took = began.elapsed();
        let rolled = cluster.pods()?;

        rights(kubectl, &rolled[0].name, &files)?;
        let replaced = replace(kubectl, &rolled[0].name, &files)?;
        let after = cluster.pods()?;
        ensure!(rolled == after, "pods changed with their tokens: before {rolled:?}, after {after:?}");
        Ok(format!(
            "missing Secrets are told and change nothing; closed {} after they came; a token replaced in {}, no pod restarted",
            spelled(took),
            spelled(replaced)
        ))
    });
}

/// What each token may do, and what nobody may.
fn rights(kubectl: &Kubectl, pod: &str, files: &TempDir) -> Result<()> {
    let way = Forward::open(kubectl, pod, 8080)?;
    ensure!(get(&way, Some(files), Some(FIRST))?.output == "CRAB", "the reader is not answered");
    for (token, call, told) in [
        (None, &["get", "unicode", "U+1F980"][..], "asks for a token"),
        (Some(SECOND), &["get", "unicode", "U+1F980"], "not known here"),
        (Some(FIRST), &["remove", "unicode", "U+1F980"], "does not allow Remove"),
        (Some(FIRST), &["get", "other", "U+1F980"], "does not allow Get"),
    ] {
        let said = ctl(&way, Some(files), token, call)?;
        ensure!(!said.success && said.errors.contains(told), "{call:?} with {token:?}: {said:?}");
    }
    let removed = ctl(&way, Some(files), Some(WRITER), &["remove", "unicode", "U+1F980"])?;
    ensure!(removed.success, "the writer may not remove: {removed:?}");
    let plain = get(&way, None, Some(FIRST))?;
    ensure!(!plain.success, "the port answered in the clear: {plain:?}");
    Ok(())
}

/// Edits the Secret, and waits until the node takes the new token and no longer the old one.
fn replace(kubectl: &Kubectl, pod: &str, files: &TempDir) -> Result<Duration> {
    let began = Instant::now();
    tokens(kubectl, SECOND)?;
    let way = Forward::open(kubectl, pod, 8080)?;
    wait::until("the new token to be taken", LIMIT, || {
        let said = get(&way, Some(files), Some(SECOND))?;
        Ok(if said.success { Seen::Reached(()) } else { Seen::NotYet(said.errors) })
    })?;
    let took = began.elapsed();
    let old = get(&way, Some(files), Some(FIRST))?;
    ensure!(!old.success && old.errors.contains("not known here"), "the old token is still taken: {old:?}");
    Ok(took)
}

fn tokens(kubectl: &Kubectl, reader: &str) -> Result<()> {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tokens"},
        "stringData": {"reader": reader, "writer": WRITER},
    });
    kubectl.apply(&secret.to_string())
}

/// An authority and a certificate of its own for the data port.
fn certificate(files: &TempDir) -> Result<()> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key)?;
    let issuer = Issuer::new(params, authority_key);
    let shown = CertificateParams::new(vec![SERVER.to_owned()])?.signed_by(&key, &issuer)?;
    for (name, text) in
        [("ca.pem", authority.pem()), ("shown.pem", shown.pem()), ("shown.key", key.serialize_pem())]
    {
        std::fs::write(files.path().join(name), text)?;
    }
    Ok(())
}

fn get(way: &Forward, files: Option<&TempDir>, token: Option<&str>) -> Result<Said> {
    ctl(way, files, token, &["get", "unicode", "U+1F980"])
}

fn ctl(way: &Forward, files: Option<&TempDir>, token: Option<&str>, call: &[&str]) -> Result<Said> {
    let mut command = Command::new(settings::path("GROUPCACHECTL")?);
    command.args(["--address", &way.address.to_string()]).args(call);
    if let Some(files) = files {
        command.arg("--ca-file").arg(files.path().join("ca.pem")).args(["--server-name", SERVER]);
    }
    let file = tempfile::NamedTempFile::new()?;
    if let Some(token) = token {
        std::fs::write(file.path(), token)?;
        command.arg("--token-file").arg(file.path());
    }
    program::run(&mut command, None)
}
