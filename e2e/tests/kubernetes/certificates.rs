//! The cluster port asks for certificates, and its authority is replaced under load: nobody notices.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted, condition};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use serde_json::{Value, json};

/// A Secret reaches its pods within a kubelet's sync, twice, and nodes look at their files every few seconds.
const LIMIT: Duration = Duration::from_secs(240);

/// Turned red by: a step of the rotation that does not wait for every node, nodes that do not read their files again, or a
/// cluster port that answers without a certificate.
#[test]
fn the_cluster_ports_authority_is_replaced_under_load() {
    scenario("certificates", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;
        let before = cluster.pods()?;
        wait_certificates(kubectl, "True", "Issued")?;
        let old = authority(kubectl)?;
        let open = kubectl.raw(&format!(
            "/api/v1/namespaces/{}/pods/{}:8081/proxy/",
            kubectl.namespace(),
            before[0].name
        ));
        ensure!(open.is_err(), "the cluster port answered a caller without a certificate: {open:?}");

        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &load::CALLERS)?;
        load::wait_running(|| loader.loads())?;
        let began = Instant::now();
        kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/rotateCertificateAuthority=1"])?;
        wait_certificates(kubectl, "True", "Rotating")?;
        wait_certificates(kubectl, "True", "Issued")?;
        let took = began.elapsed();
        let report = load.stop()?;
        report.demand_no_errors("while the authority was replaced")?;
        let new = authority(kubectl)?;
        ensure!(old != new, "the authority is the one before");
        let trusted = data(kubectl, &format!("{NAME}-peer-tls"))?["ca.crt"].clone();
        ensure!(trusted == new, "the nodes trust another than the new one");
        cluster.wait_converged(3)?;
        let after = cluster.pods()?;
        ensure!(before == after, "pods changed: before {before:?}, after {after:?}");

        faults_are_told(kubectl)?;
        cluster.wait_converged(3)?;
        Ok(format!(
            "a new authority in {}: {}, no pod restarted; a missing and a wrong Secret are told, and change nothing",
            spelled(took),
            report.told()
        ))
    });
}

/// The user brings an authority, in three tries: it is not there, it is none, it is the one in use.
fn faults_are_told(kubectl: &Kubectl) -> Result<()> {
    let ours = json!({"spec": {"tls": {"peer": {"mode": "CaSecret", "secretName": "ours"}}}}).to_string();
    kubectl.run(&["patch", "cc", NAME, "--type", "merge", "--patch", &ours])?;
    wait_certificates(kubectl, "False", "SecretMissing")?;
    let mut secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ours"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": "no certificate", "tls.key": "no key"},
    });
    kubectl.apply(&secret.to_string())?;
    wait_certificates(kubectl, "False", "NotAnAuthority")?;
    let held = data(kubectl, &format!("{NAME}-peer-ca"))?;
    secret["data"] = json!({"tls.crt": held["tls.crt"], "tls.key": held["tls.key"]});
    secret.as_object_mut().context("an object")?.remove("stringData");
    kubectl.apply(&secret.to_string())?;
    wait_certificates(kubectl, "True", "Issued")
}

fn wait_certificates(kubectl: &Kubectl, status: &str, reason: &str) -> Result<()> {
    let of = |cc: &Value| condition(cc, "CertificatesReady");
    let reached = |cc: &Value| of(cc)["status"] == status && of(cc)["reason"] == reason;
    let what = format!("CertificatesReady={status}/{reason}");
    kubectl.wait(("cc", NAME), &what, LIMIT, reached, |cc| of(cc).to_string()).map(drop)
}

fn authority(kubectl: &Kubectl) -> Result<Value> {
    Ok(data(kubectl, &format!("{NAME}-peer-ca"))?["tls.crt"].clone())
}

fn data(kubectl: &Kubectl, secret: &str) -> Result<Value> {
    Ok(kubectl.get("secret", secret)?["data"].clone())
}
