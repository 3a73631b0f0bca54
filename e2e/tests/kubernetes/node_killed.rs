//! A node's process is killed while there is no operator: it starts again with the membership that it kept on disk.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use groupcache_e2e::cachecluster::{CacheCluster, Pod, Wanted};
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::program;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::stopped;
use groupcache_e2e::wait::{self, Seen};

const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: a snapshot that is not written before it is in force or not read at the start, peers that do not notice
/// the new process behind an old name, or a Get that fails with its owner.
#[test]
fn a_killed_node_is_back_with_the_membership_that_it_kept() {
    scenario("node_killed", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &load::CALLERS)?;
        load::wait_running(|| loader.loads())?;
        let victim = cluster.pods()?.swap_remove(1);
        let operator = Operator::away()?;

        let began = Instant::now();
        kill(&victim)?;
        wait::until(&format!("{} to be ready again", victim.name), LIMIT, || {
            let pods = cluster.pods()?;
            let back =
                pods.iter().any(|pod| pod.uid == victim.uid && pod.restarts > victim.restarts && pod.ready);
            Ok(if back { Seen::Reached(()) } else { Seen::NotYet(format!("{pods:?}")) })
        })?;
        let took = began.elapsed();
        let report = load.stop()?;
        drop(operator);
        cluster.wait_converged(3)?;

        report.demand_no_errors("while a node was killed")?;
        Ok(format!(
            "kill -9 of a node without an operator: ready again after {}, {}",
            spelled(took),
            report.told()
        ))
    });
}

fn kill(pod: &Pod) -> Result<()> {
    let pid = stopped::pid_in_container(&format!("POD_UID={}", pod.uid))?;
    program::output(Command::new("kill").args(["-s", "KILL", &pid]), None).map(drop)
}
