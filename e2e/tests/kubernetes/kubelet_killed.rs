//! The kubelet of a machine is killed and away for a minute, and a pod there is deleted meanwhile: Gets go on.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use groupcache_e2e::cachecluster::{NAME, condition_holds};
use groupcache_e2e::killed::Killed;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::trial::Trial;
use groupcache_e2e::wait::{self, Seen};
use serde_json::Value;

/// How long there is no kubelet: time itself is what is tested. Meanwhile Kubernetes takes the machine for lost, and with it its pods for not ready.
const AWAY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: a client or an operator that gives nodes up whose machine only looks lost, one that waits for the end of a pod before the ring goes
/// on without it, or a pod that comes back and is not let in.
#[test]
fn a_killed_kubelet_is_away_for_a_minute() {
    scenario("kubelet_killed", |kubectl| -> Result<String> {
        let trial = Trial::begin(kubectl, |_| {})?;
        let cluster = &trial.cluster;
        let (_, many) = cluster.machines()?;
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

        Ok(format!(
            "a kubelet killed and away for 60 s: the ring went on without the pod that was deleted after {}, Kubernetes took the machine for lost after {}; \
             replaced and converged {} after the kubelet was started again; {}",
            spelled(gone_on),
            spelled(noticed),
            spelled(back),
            trial.end("while a kubelet was away")?
        ))
    });
}
