//! A cluster grows from three nodes to five and shrinks back under load, and says when its ring has converged.

use std::time::{Duration, Instant};

use anyhow::Result;
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad, Report};
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::wait::{self, Seen};

/// A drain of 35 s, five over which connections are closed, and what a busy machine takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: a node that is Ready before it has a membership, a membership that is pushed to the new nodes only, or a
/// leaving node that closes its port before clients have learnt of it.
#[test]
fn a_cluster_grows_and_shrinks_under_load() {
    scenario("scale", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;

        let (up, up_report) = scaled(kubectl, &cluster, &loader, 5)?;
        let (down, down_report) = scaled(kubectl, &cluster, &loader, 3)?;

        up_report.demand_no_errors("on the way from 3 to 5 nodes")?;
        down_report.demand_no_errors("on the way from 5 to 3 nodes")?;
        Ok(format!(
            "3 to 5 nodes: converged in {}, {}; 5 to 3: converged in {}, {}",
            spelled(up),
            up_report.told(),
            spelled(down),
            down_report.told()
        ))
    });
}

fn scaled(
    kubectl: &Kubectl,
    cluster: &CacheCluster<'_>,
    loader: &PodLoader<'_>,
    nodes: u32,
) -> Result<(Duration, Report)> {
    let load = PodLoad::start(kubectl, &format!("callers-to-{nodes}"), &cluster.address(), &load::CALLERS)?;
    // A ring that has just changed loads again what moved; a fresh one loads everything.
    load::wait_running(|| loader.loads())?;
    let began = Instant::now();
    kubectl.run(&["scale", &format!("cc/{NAME}"), &format!("--replicas={nodes}")])?;
    cluster.wait_converged(nodes)?;
    let took = began.elapsed();
    // Pods that leave go on serving for the drain; the load goes on until they have ended.
    wait::until(&format!("{nodes} pods to be left"), LIMIT, || {
        let pods = cluster.pods()?.len();
        Ok(if pods == nodes as usize { Seen::Reached(()) } else { Seen::NotYet(format!("{pods} pods")) })
    })?;
    Ok((took, load.stop()?))
}
