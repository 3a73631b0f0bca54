//! Five nodes restart one by one under 64 callers of 10,000 warm keys: nobody notices, and the loader hardly does.

use std::time::Instant;

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted};
use groupcache_e2e::causes::Causes;
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::sources::Sources;
use groupcache_e2e::tally::Tally;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::watch::Watch;

const NODES: u32 = 5;
/// Nodes that are ready at any moment.
const LEAST: u64 = 4;
const KEYS: usize = 10_000;
/// Loads that a restart of all nodes may add, as a share of the keys. What is promised is a twentieth, on machines that have time; where nodes
/// wait for a processor, Gets go to second owners, and each of those loads for itself. Without take-over it would be more than all keys.
const MOST_ADDED: f64 = 0.15;
const LOAD: [&str; 8] =
    ["--group", "unicode", "--keys=10000", "--zipf", "0", "--callers", "64", "--until-signal"];

/// Turned red by: a node that goes before the ring is at rest, one that closes its port before clients have learnt of it, one that
/// leaves without its entries being taken over, or a take-over that brings back what was removed.
#[test]
fn a_rolling_restart_fails_no_get_and_adds_few_loads() {
    scenario("rolling_restart", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let wanted = Wanted { replicas: NODES, drain_seconds: 10, ..sources.wanted() };
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let before = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, before.len())?;
        sources.fill(&fleet, KEYS)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        let check = sources.check(&fleet)?;
        let tally = Tally::watch(kubectl, &machines, &fleet)?;
        let counted = Causes::of(&tally);
        let loads = sources.keys.loads();

        let ready = Watch::begin(kubectl, "ready", &["statefulset", NAME], "{.status.readyReplicas}")?;
        let began = Instant::now();
        kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/restartedAt=now"])?;
        cluster.wait_all_replaced(&before)?;
        cluster.wait_converged(NODES)?;
        let took = began.elapsed();
        let added = sources.keys.loads() - loads;
        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("during a rolling restart")?;
        verdict.demand_none_stale()?;
        let least = ready.numbers().into_iter().min();
        ensure!(
            least == Some(LEAST),
            "one node may be away at a time, {LEAST} must be ready; the fewest were {least:?}"
        );
        let causes = Causes::of(&tally).since(&counted);
        let share = added as f64 / KEYS as f64;
        ensure!(share <= MOST_ADDED, "{added} loads of {KEYS} keys were added, {:.1} %", share * 100.0);
        Ok(format!(
            "{NODES} nodes in {}: {}; {} loads added for {} warm keys, {:.1} % ({causes}); {}; {}",
            spelled(took),
            report.told(),
            grouped(added),
            grouped(KEYS as u64),
            share * 100.0,
            versions.end()?,
            verdict.words()
        ))
    });
}
