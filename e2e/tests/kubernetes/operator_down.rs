//! The operator is gone for a minute under load, and a pod is deleted meanwhile: nobody notices.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, Wanted};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::wait::{self, Seen};

/// How long there is no operator: time itself is what is tested.
const AWAY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(180);

/// Turned red by: a node that stops serving when nobody pushes to it, a replaced pod that waits for the operator before it
/// is Ready, or peers that go on calling the dead pod's address.
#[test]
fn the_operator_is_away_for_a_minute_and_a_pod_is_replaced_meanwhile() {
    scenario("operator_down", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &load::CALLERS)?;
        load::wait_running(|| loader.loads())?;
        let old = cluster.pods()?.swap_remove(1);

        let operator = Operator::away()?;
        let began = Instant::now();
        kubectl.run(&["delete", "pod", &old.name, "--wait=false"])?;
        let new = cluster.wait_replaced(&old)?;
        let replaced = began.elapsed();
        ask(kubectl, &new.name)?;
        wait::until("the end of the minute", LIMIT, || {
            let passed = began.elapsed();
            Ok(if passed >= AWAY { Seen::Reached(()) } else { Seen::NotYet(spelled(passed)) })
        })?;
        let report = load.stop()?;
        drop(operator);
        cluster.wait_converged(3)?;

        report.demand_no_errors("while the operator was away")?;
        Ok(format!(
            "60 s without an operator: {}; a pod deleted meanwhile drained for 35 s and served again after {}",
            report.told(),
            spelled(replaced)
        ))
    });
}

/// The new pod itself answers, not just its Service.
fn ask(kubectl: &Kubectl, pod: &str) -> Result<()> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:8080/proxy/v1/groups/unicode/keys/U+1F980",
        kubectl.namespace()
    );
    wait::until(&format!("an answer of {pod}"), LIMIT, || {
        let answer = kubectl.raw(&path)?;
        ensure!(answer == "CRAB", "it answered {answer:?}");
        Ok(Seen::Reached(()))
    })
}
