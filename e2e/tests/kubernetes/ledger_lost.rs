//! The ledger is deleted, put back as it was earlier, and its cluster made again around its pods: no version goes back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::NAME;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::program;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::trial::Trial;
use groupcache_e2e::versions;
use serde_json::Value;

/// Turned red by: an operator that goes on from what an old ledger says or begins anew without asking the nodes, a node that adopts
/// an older membership, or pods of a deleted cluster that are replaced all at once.
#[test]
fn a_ledger_that_is_lost_or_restored_takes_no_node_back() {
    scenario("ledger_lost", |kubectl| -> Result<String> {
        let mut trial = Trial::begin(kubectl, |_| {})?;
        let before = trial.cluster.pods()?;

        let earlier = ledger(kubectl)?;
        trial.wanted.groups.push(("second", 3600));
        trial.change()?;
        let newer = versions::wait_ledger_above(kubectl, versions::in_ledger(&earlier)?)?;
        trial.cluster.wait_converged(3)?;
        let began = Instant::now();
        kubectl.run(&["delete", "configmap", &name()])?;
        let anew = versions::wait_ledger_above(kubectl, newer)?;
        trial.cluster.wait_converged(3)?;
        let lost = began.elapsed();

        // While nobody remembers what was written last but the status and the nodes.
        let operator = Operator::away()?;
        put_back(kubectl, earlier)?;
        let began = Instant::now();
        drop(operator);
        versions::wait_ledger_above(kubectl, anew)?;
        trial.cluster.wait_converged(3)?;
        let restored = began.elapsed();
        ensure!(
            before == trial.cluster.pods()?,
            "pods changed: before {before:?}, after {:?}",
            trial.cluster.pods()?
        );

        // Until the last pod is replaced there are two clusters, and a Remove reaches the nodes of its own.
        trial.end_check()?;
        let began = Instant::now();
        kubectl.run(&["delete", "cc", NAME, "--cascade=orphan", "--wait=true", "--timeout=60s"])?;
        trial.change()?;
        trial.cluster.wait_all_replaced(&before)?;
        trial.cluster.wait_converged(3)?;
        let made_again = began.elapsed();
        Ok(format!(
            "deleted: converged in {}; put back as it was earlier: in {}; its cluster made again under running pods: in {}; {}",
            spelled(lost),
            spelled(restored),
            spelled(made_again),
            trial.end("while the ledger was lost")?
        ))
    });
}

fn name() -> String {
    format!("{NAME}-ledger")
}

fn ledger(kubectl: &Kubectl) -> Result<Value> {
    kubectl.get("configmap", &name())
}

/// As a backup would: the content, over whatever is there now.
fn put_back(kubectl: &Kubectl, mut ledger: Value) -> Result<()> {
    let metadata = ledger["metadata"].as_object_mut().context("metadata")?;
    for key in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
        metadata.remove(key);
    }
    let mut replace = kubectl.command(&["replace", "--filename", "-"]);
    program::output(&mut replace, Some(&ledger.to_string())).map(drop)
}
