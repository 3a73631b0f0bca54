//! The API server stops answering for a minute under load: nodes go on, and so does the operator once it is back.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::sources::Sources;
use groupcache_e2e::stopped::Stopped;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};

/// How long nobody answers: time itself is what is tested.
const AWAY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);
const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];

/// Turned red by: a node that needs the API server or the operator for a Get or a Remove, an operator that hangs on a request that is never
/// answered or ends for good, or a ring that shrinks because a control plane was away.
#[test]
fn the_api_server_does_not_answer_for_a_minute() {
    scenario("api_server_down", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let mut wanted = sources.wanted();
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let before = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, 3)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = sources.check(&fleet)?;
        // Names are not resolved anew: what finds the nodes must not depend on what is taken away.
        let nodes: Vec<String> = fleet.data().iter().map(|node| node.now().to_string()).collect();
        let load = load::start_inside(&machines, "api_server_down-callers", &nodes.join(","), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;

        let stopped = Stopped::api_server()?;
        let (began, removes) = (Instant::now(), check.removes());
        ensure!(!answers(kubectl)?, "the API server answers though it is stopped");
        wait::until("the end of the minute", LIMIT, || {
            let passed = began.elapsed();
            Ok(if passed >= AWAY { Seen::Reached(()) } else { Seen::NotYet(spelled(passed)) })
        })?;
        let removes = check.removes() - removes;
        drop(stopped);
        let began = Instant::now();
        wanted.groups.push(("second", 3600));
        wanted.replicas = 4;
        wait::until("the API server to take a change", LIMIT, || {
            Ok(Seen::Reached(cluster.change(&wanted)?))
        })?;
        cluster.wait_converged(4)?;
        let recovered = began.elapsed();
        let (report, verdict) = (load::stop_process(load)?, check.end());
        report.demand_no_errors("while the API server did not answer")?;
        verdict.demand_none_stale()?;
        ensure!(removes > 0, "no Remove succeeded meanwhile");
        let after = cluster.pods()?;
        ensure!(before.iter().all(|pod| after.contains(pod)), "before {before:?}, after {after:?}");
        Ok(format!(
            "60 s without an answer: {}, {} Removes; a fourth node and a new group converged {} later; {}; {}",
            report.told(),
            grouped(removes),
            spelled(recovered),
            versions.end()?,
            verdict.words()
        ))
    });
}

fn answers(kubectl: &Kubectl) -> Result<bool> {
    Ok(kubectl.said(&["get", "cc", NAME, "--request-timeout=3s"])?.success)
}
