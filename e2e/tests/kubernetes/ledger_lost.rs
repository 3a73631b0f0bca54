//! The ledger is deleted, put back as it was earlier, and its cluster made again around its pods: no version goes back.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::program;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::versions::{self, Versions};
use serde_json::Value;

const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];

/// Turned red by: an operator that goes on from what an old ledger says or begins anew without asking the nodes, a node that adopts
/// an older membership, or pods of a deleted cluster that are replaced all at once.
#[test]
fn a_ledger_that_is_lost_or_restored_takes_no_node_back() {
    scenario("ledger_lost", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let mut wanted = sources.wanted();
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let fleet = Fleet::follow(kubectl, 3)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = sources.check(&fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;
        let before = cluster.pods()?;

        let earlier = ledger(kubectl)?;
        wanted.groups.push(("second", 3600));
        cluster.change(&wanted)?;
        let newer = versions::wait_ledger_above(kubectl, versions::in_ledger(&earlier)?)?;
        cluster.wait_converged(3)?;
        let began = Instant::now();
        kubectl.run(&["delete", "configmap", &name()])?;
        let anew = versions::wait_ledger_above(kubectl, newer)?;
        cluster.wait_converged(3)?;
        let lost = began.elapsed();

        // While nobody remembers what was written last but the status and the nodes.
        let operator = Operator::away()?;
        put_back(kubectl, earlier)?;
        let began = Instant::now();
        drop(operator);
        versions::wait_ledger_above(kubectl, anew)?;
        cluster.wait_converged(3)?;
        let restored = began.elapsed();
        ensure!(before == cluster.pods()?, "pods changed: before {before:?}, after {:?}", cluster.pods()?);

        // Until the last pod is replaced there are two clusters, and a Remove reaches the nodes of its own.
        let verdict = check.end();
        verdict.demand_none_stale()?;
        let began = Instant::now();
        kubectl.run(&["delete", "cc", NAME, "--cascade=orphan", "--wait=true", "--timeout=60s"])?;
        cluster.change(&wanted)?;
        cluster.wait_all_replaced(&before)?;
        cluster.wait_converged(3)?;
        let made_again = began.elapsed();
        let report = load.stop()?;
        report.demand_no_errors("while the ledger was lost")?;
        Ok(format!(
            "deleted: converged in {}; put back as it was earlier: in {}; its cluster made again under running pods: in {}; {}; {}; {}",
            spelled(lost),
            spelled(restored),
            spelled(made_again),
            versions.end()?,
            report.told(),
            verdict.words()
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
