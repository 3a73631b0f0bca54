//! All operators are gone for a minute under load, and a pod is deleted meanwhile: nobody notices, and Removes go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::trial::Trial;
use groupcache_e2e::wait::{self, Seen};

/// How long there is no operator: time itself is what is tested.
const AWAY: Duration = Duration::from_secs(60);
const LIMIT: Duration = Duration::from_secs(180);

/// Turned red by: a node that stops serving when nobody pushes to it, a replaced pod that waits for the operator before it
/// is Ready, peers that go on calling the dead pod's address, or a Remove that cannot succeed around a pod that nobody has let in yet.
#[test]
fn the_operators_are_away_for_a_minute_and_a_pod_is_replaced_meanwhile() {
    scenario("operator_down", |kubectl| -> Result<String> {
        let trial = Trial::begin(kubectl, |_| {})?;
        let cluster = &trial.cluster;
        let old = cluster.pods()?.swap_remove(1);

        let operator = Operator::away()?;
        ensure!(
            operator.replicas() > 1,
            "{} operator was taken away, not all of several",
            operator.replicas()
        );
        let began = Instant::now();
        kubectl.run(&["delete", "pod", &old.name, "--wait=false"])?;
        let new = cluster.wait_replaced(&old)?;
        let replaced = began.elapsed();
        ask(kubectl, &new.name)?;
        let removes = trial.removes()?;
        wait::until("the end of the minute", LIMIT, || {
            let passed = began.elapsed();
            Ok(if passed >= AWAY { Seen::Reached(()) } else { Seen::NotYet(spelled(passed)) })
        })?;
        let removes = trial.removes()? - removes;
        ensure!(removes > 0, "no Remove succeeded once the pod was replaced");
        let replicas = operator.replicas();
        drop(operator);
        let began = Instant::now();
        cluster.wait_converged(3)?;
        let back = began.elapsed();

        Ok(format!(
            "60 s without any of {replicas} operators: a pod deleted meanwhile served again after {}, and {} Removes succeeded from then on; converged \
             {} after they were back; {}",
            spelled(replaced),
            grouped(removes),
            spelled(back),
            trial.end("while the operators were away")?
        ))
    });
}

/// The new pod itself answers, not just its Service.
fn ask(kubectl: &Kubectl, pod: &str) -> Result<()> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:8080/proxy/v1/groups/unicode/keys/key-1",
        kubectl.namespace()
    );
    wait::until(&format!("an answer of {pod}"), LIMIT, || {
        let answer = kubectl.raw(&path)?;
        ensure!(answer == "0", "it answered {answer:?}");
        Ok(Seen::Reached(()))
    })
}
