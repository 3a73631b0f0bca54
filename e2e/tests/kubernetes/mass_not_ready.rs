//! Every readiness probe fails at once, for longer than a node may be not ready: the ring keeps its members.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::settings;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};
use groupcache_e2e::watch::Watch;
use serde_json::Value;

const KEYS: usize = 1000;
const LOAD: [&str; 7] =
    ["--group", "unicode", "--keys=1000", "--zipf=0", "--callers", "16", "--until-signal"];
/// How long nobody is ready: a single node would have lost its keys after 30 s. With `GROUPCACHE_E2E_SECONDS=150` longer than the operator
/// doubts that most of the ring is gone (another 60 s).
const NOT_READY: Duration = Duration::from_secs(40);
const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: an operator that takes who is not ready out of the ring whatever becomes of the ring, a node that asks its probes whether it may
/// serve, or a client that lets go of its nodes when their name has no address.
#[test]
fn when_all_probes_fail_at_once_the_ring_keeps_its_members() {
    scenario("mass_not_ready", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let cluster = CacheCluster::up(kubectl, &sources.wanted())?;
        let before = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, 3)?;
        sources.fill(&fleet, KEYS)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let active = Watch::begin(kubectl, "active", &["cc", NAME], "{.status.membership.active}")?;
        let check = sources.check(&fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(load.seconds() * 100))?;
        let loads = sources.keys.loads();

        let addresses: Vec<_> = fleet.lookout().located().iter().map(|pod| pod.address).collect();
        let lost = machines.without_readiness_probes(&addresses)?;
        let nobody = |cc: &Value| cc["status"]["readyReplicas"].as_u64().unwrap_or(0) == 0;
        kubectl.wait(("cc", NAME), "nobody ready", LIMIT, nobody, |cc| cc["status"].to_string())?;
        let began = Instant::now();
        let time = settings::number("SECONDS").map_or(NOT_READY, Duration::from_secs);
        wait::until("the end of the time", time + LIMIT, || {
            let passed = began.elapsed();
            Ok(if passed >= time { Seen::Reached(()) } else { Seen::NotYet(spelled(passed)) })
        })?;
        let removes = check.removes();
        drop(lost);
        let began = Instant::now();
        cluster.wait_converged(3)?;
        let back = began.elapsed();

        let added = sources.keys.loads() - loads;
        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("while nobody was ready")?;
        verdict.demand_none_stale()?;
        ensure!(removes > 0, "no Remove succeeded meanwhile");
        let least = active.numbers().into_iter().min();
        ensure!(least == Some(3), "three members owned keys; the fewest were {least:?}");
        ensure!(before == cluster.pods()?, "pods changed: before {before:?}, after {:?}", cluster.pods()?);
        Ok(format!(
            "nobody ready for {}: never fewer than 3 owners; {}; {} loads added; ready and converged {} after probes were answered again; {}; {}",
            spelled(time),
            report.told(),
            grouped(added),
            spelled(back),
            versions.end()?,
            verdict.words()
        ))
    });
}
