//! A group is added and a ttl is changed by `kubectl apply`: every node knows at once, and no pod is restarted.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, Pod, Wanted};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::wait::{self, Seen};

const LIMIT: Duration = Duration::from_secs(60);

/// Turned red by: groups in the pod template (a change then rolls the pods), a push that reaches some nodes only, or a node
/// that keeps the ttl with which a group was first made.
#[test]
fn a_new_group_and_a_new_ttl_apply_without_a_restart() {
    scenario("live_configuration", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let mut wanted = Wanted::three(loader.target());
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let before = cluster.pods()?;
        ensure!(
            get(kubectl, &before[0], "second", "U+0041").is_err(),
            "a group that is not there was answered"
        );

        wanted.groups = vec![("unicode", 2), ("second", 3600)];
        let began = Instant::now();
        cluster.change(&wanted)?;
        for pod in &before {
            wait::until(&format!("group second at {}", pod.name), LIMIT, || {
                let answer = get(kubectl, pod, "second", "U+0041")?;
                ensure!(answer == "LATIN CAPITAL LETTER A", "it answered {answer:?}");
                Ok(Seen::Reached(()))
            })?;
        }
        let took = began.elapsed();
        // With the old ttl of an hour the key would be loaded once and no more.
        let loads = wait::until("a key to be loaded anew after 2 s", LIMIT, || {
            get(kubectl, &before[0], "unicode", "U+0042")?;
            let loads = loader.loads_of("U+0042")?;
            Ok(if loads >= 2 { Seen::Reached(loads) } else { Seen::NotYet(format!("{loads} loads")) })
        })?;
        cluster.wait_converged(3)?;
        let after = cluster.pods()?;
        ensure!(before == after, "pods changed: before {before:?}, after {after:?}");
        Ok(format!(
            "a new group answers at all three nodes {} after apply, a new ttl holds ({loads} loads), no pod restarted",
            spelled(took)
        ))
    });
}

fn get(kubectl: &Kubectl, pod: &Pod, group: &str, key: &str) -> Result<String> {
    kubectl.raw(&format!(
        "/api/v1/namespaces/{}/pods/{}:8080/proxy/v1/groups/{group}/keys/{key}",
        kubectl.namespace(),
        pod.name
    ))
}
