//! The kubelet of a machine is killed and away for a minute, and a pod there is deleted meanwhile: Gets go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, condition_holds};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::killed::Killed;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};
use serde_json::Value;

/// How long there is no kubelet: time itself is what is tested. Meanwhile Kubernetes takes the machine for lost, and with it its pods for not ready.
const AWAY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);
const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];

/// Turned red by: a client or an operator that gives nodes up whose machine only looks lost, one that waits for the end of a pod before the ring goes
/// on without it, or a pod that comes back and is not let in.
#[test]
fn a_killed_kubelet_is_away_for_a_minute() {
    scenario("kubelet_killed", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let cluster = CacheCluster::up(kubectl, &sources.wanted())?;
        let (_, many) = cluster.machines()?;
        let fleet = Fleet::follow(kubectl, 3)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = sources.check(&fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;
        let old = cluster.pods()?.into_iter().find(|pod| pod.machine == many).context("a node there")?;

        let killed = Killed::kubelet(&many)?;
        let began = Instant::now();
        kubectl.run(&["delete", "pod", &old.name, "--wait=false"])?;
        let without = |cc: &Value| {
            cc["status"]["membership"]["active"] == 2 && cc["status"]["membership"]["draining"] != 0
        };
        kubectl.wait(("cc", NAME), "two own keys", LIMIT, without, |cc| cc["status"].to_string())?;
        let gone_on = began.elapsed();
        let lost = |machine: &Value| !condition_holds(machine, "Ready");
        kubectl
            .wait(("node", &many), "not ready", LIMIT, lost, |it| it["status"]["conditions"].to_string())?;
        let noticed = began.elapsed();
        wait::until("the end of the minute", LIMIT, || {
            let passed = began.elapsed();
            Ok(if passed >= AWAY { Seen::Reached(()) } else { Seen::NotYet(spelled(passed)) })
        })?;
        let began = Instant::now();
        killed.start_again()?;
        cluster.wait_replaced(&old)?;
        cluster.wait_converged(3)?;
        let back = began.elapsed();

        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("while a kubelet was away")?;
        verdict.demand_none_stale()?;
        Ok(format!(
            "a kubelet killed and away for 60 s: the ring went on without the pod that was deleted after {}, Kubernetes took the machine for lost after {}; \
             replaced and converged {} after the kubelet was started again; {}; {}; {}",
            spelled(gone_on),
            spelled(noticed),
            spelled(back),
            report.told(),
            versions.end()?,
            verdict.words()
        ))
    });
}
