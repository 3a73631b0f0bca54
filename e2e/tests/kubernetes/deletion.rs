//! `kubectl delete cc`: everything that belonged to the cluster goes with it, and nothing else.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, LABEL, NAME, Wanted};
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::wait::{self, Seen};

const LIMIT: Duration = Duration::from_secs(120);
const KINDS: &str =
    "statefulset,service,configmap,secret,poddisruptionbudget,networkpolicy,pod,endpointslice";

/// Turned red by: a child without an owner reference, or a finalizer that nobody takes off.
#[test]
fn children_go_with_their_cluster() {
    scenario("deletion", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let wanted = Wanted { drain_seconds: 1, ..Wanted::three(loader.target()) };
        CacheCluster::up(kubectl, &wanted)?;
        let label = format!("{LABEL}={NAME}");
        let children = kubectl.list(KINDS, &label)?.len();
        // The StatefulSet, three Services, the ledger and three pods at least.
        ensure!(children >= 8, "only {children} children carry the label {label}");

        let began = Instant::now();
        kubectl.run(&["delete", "cc", NAME, "--wait=true", "--timeout=60s"])?;
        wait::until("the end of all children", LIMIT, || {
            // By label, and by name: a child may have lost its labels.
            let names = kubectl.run(&["get", KINDS, "--output", "name"])?;
            let left: Vec<&str> = names.lines().filter(|name| name.contains(NAME)).collect();
            let labelled = kubectl.list(KINDS, &label)?.len();
            Ok(if left.is_empty() && labelled == 0 {
                Seen::Reached(())
            } else {
                Seen::NotYet(left.join(", "))
            })
        })?;
        ensure!(loader.loads().is_ok(), "the loader went too");
        Ok(format!("{children} children gone {} after `kubectl delete cc`", spelled(began.elapsed())))
    });
}
