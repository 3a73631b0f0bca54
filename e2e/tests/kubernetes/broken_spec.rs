//! Three revisions that cannot run, and a loader that is not there, under load: status says so, and who serves goes on.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, Wanted};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::http;
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::settings;
use groupcache_e2e::wait::{self, Seen};

/// How long a broken revision could go on to the next node: longer than a ring takes to settle.
const TEMPTATION: Duration = Duration::from_secs(8);
const LIMIT: Duration = Duration::from_secs(60);
/// Keys of the load; all of them are loaded before the loader is taken away.
const KEYS: u64 = 500;
const LOAD: [&str; 10] = [
    "--group",
    "unicode",
    "--keys-from",
    "unicode",
    "--keys",
    "500",
    "--zipf",
    "0",
    "--callers=32",
    "--until-signal",
];

/// Turned red by: a rollout that goes on to the next node though the one before does not run, one that waits for ever for a broken
/// pod when the spec is mended, a status without the reason, or nodes that drop what they hold with their loader.
#[test]
fn a_spec_that_cannot_run_costs_one_node_at_most_and_no_get() {
    scenario("broken_spec", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let good = Wanted { drain_seconds: 5, bound_seconds: 2, ..Wanted::three(loader.target()) };
        let cluster = CacheCluster::up(kubectl, &good)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        wait::until("all keys to be loaded", LIMIT, || {
            let loads = loader.loads()?;
            Ok(if loads >= KEYS { Seen::Reached(()) } else { Seen::NotYet(format!("{loads} are")) })
        })?;
        let fleet = Fleet::follow(kubectl, 3)?;
        let gone = Wanted { loader: format!("dns:///nowhere.{}:9000", kubectl.namespace()), ..good.clone() };
        loader_gone(&cluster, &good, &gone, &fleet)?;

        // Nobody listens there, so that nobody waits for a registry far away.
        let no_image = Wanted { image: Some("127.0.0.1:1/none:0".to_owned()), ..good.clone() };
        let too_large = Wanted { cpu: "1000", ..good.clone() };
        // A program that is there and takes none of a node's flags.
        let crashes = Wanted { image: Some(settings::text("CTL_IMAGE")?), ..good.clone() };
        let mut told = Vec::new();
        for (reason, broken) in
            [("ImagePullFailed", no_image), ("Unschedulable", too_large), ("Crashing", crashes)]
        {
            let mended = broken_and_mended(&cluster, &good, &broken, reason)?;
            told.push(format!(
                "{reason}: one node touched, converged {} after it was mended",
                spelled(mended)
            ));
        }
        let report = load.stop()?;
        report.demand_no_errors("while the spec was broken")?;
        Ok(format!(
            "{}; a loader that is not there: what is held is served; {}",
            told.join("; "),
            report.told()
        ))
    });
}

/// Applies a revision that cannot run and then the good one; how long it took to converge again.
fn broken_and_mended(
    cluster: &CacheCluster<'_>,
    good: &Wanted,
    broken: &Wanted,
    reason: &str,
) -> Result<Duration> {
    let before = cluster.pods()?;
    cluster.change(broken)?;
    cluster.wait_condition("Degraded", "True", reason)?;
    cluster.wait_condition("Progressing", "False", "Stalled")?;
    cluster.wait_condition("Available", "True", "Serving")?;
    // Time itself: a rollout that does not stop here would have gone on by then.
    thread::sleep(TEMPTATION);
    let during = cluster.pods()?;
    let untouched: Vec<_> = before.iter().filter(|pod| during.contains(pod)).cloned().collect();
    ensure!(untouched.len() + 1 == before.len(), "{reason}: before {before:?}, during {during:?}");

    let began = Instant::now();
    cluster.change(good)?;
    cluster.wait_converged(good.replicas)?;
    let took = began.elapsed();
    cluster.wait_condition("Degraded", "False", "AsExpected")?;
    let after = cluster.pods()?;
    ensure!(untouched.iter().all(|pod| after.contains(pod)), "{reason}: before {before:?}, after {after:?}");
    Ok(took)
}

/// The loader of every group moves to where nobody is, and back.
fn loader_gone(cluster: &CacheCluster<'_>, good: &Wanted, gone: &Wanted, fleet: &Fleet) -> Result<()> {
    /// Not among the keys of the load.
    const COLD: &str = "/v1/groups/unicode/keys/U+1F980";
    let before = cluster.pods()?;
    let machines = Machines::of_the_cluster()?;
    let ask = || {
        let node = fleet.data()[0].now();
        machines.visit(|| http::get_within(node, COLD, LIMIT))
    };
    cluster.change(gone)?;
    // Nodes run what they were told, and nobody has asked the loader yet.
    cluster.wait_converged(gone.replicas)?;
    cluster.wait_condition("ConfigurationApplied", "True", "Applied")?;
    cluster.wait_condition("Degraded", "False", "AsExpected")?;
    wait::until("a cold key to fail", LIMIT, || {
        let answer = ask()?;
        let told = answer.status >= 500 && answer.body.contains("names");
        Ok(if told { Seen::Reached(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })?;
    // Three failures in a row are a loader that fails.
    for _ in 0..2 {
        let answer = ask()?;
        ensure!(answer.status >= 500, "a key of a loader that is not there: {answer:?}");
    }
    cluster.wait_condition("LoadersReachable", "False", "Failing")?;
    cluster.change(good)?;
    wait::until("the cold key to be loaded", LIMIT, || {
        let answer = ask()?;
        Ok(if answer.body == "CRAB" { Seen::Reached(()) } else { Seen::NotYet(format!("{answer:?}")) })
    })?;
    cluster.wait_converged(good.replicas)?;
    cluster.wait_condition("LoadersReachable", "True", "Answering")?;
    let after = cluster.pods()?;
    ensure!(before == after, "pods changed: before {before:?}, after {after:?}");
    Ok(())
}
