//! The operator is killed in a rollout, after the first eviction and again while the ring settles: it goes on.
//!
//! With `GROUPCACHE_E2E_POINTS=10` it is killed ten times instead, each time as soon as the ledger has moved on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Pod, condition};
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::settings;
use groupcache_e2e::trial::Trial;
use groupcache_e2e::versions::{self, Version};
use groupcache_e2e::wait::{self, Seen};
use groupcache_e2e::watch::Watch;
use serde_json::Value;

/// Nodes that are ready at any moment.
const LEAST: u64 = 2;
const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: an operator that forgets with its process which pods are left or how far the ring has settled and so takes two nodes
/// at a time, one that counts versions from what it remembers, or a Lease that nobody takes over.
#[test]
fn an_operator_killed_in_a_rollout_goes_on_where_it_was() {
    scenario("operator_killed", |kubectl| -> Result<String> {
        let trial = Trial::begin(kubectl, |_| {})?;
        let cluster = &trial.cluster;
        let before = cluster.pods()?;

        let ready = Watch::begin(kubectl, "ready", &["statefulset", NAME], "{.status.readyReplicas}")?;
        let from = versions::of_ledger(kubectl)?;
        kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/restartedAt=now"])?;
        let (points, seen) = match settings::number("POINTS") {
            Some(points) => at_steps(kubectl, cluster, from, points)?,
            None => at_two_points(kubectl, cluster, &before)?,
        };
        let killed = Instant::now();
        cluster.wait_all_replaced(&before)?;
        cluster.wait_converged(3)?;
        let took = killed.elapsed();
        let least = ready.numbers().into_iter().min();
        ensure!(
            least == Some(LEAST),
            "one node may be away at a time, {LEAST} must be ready; the fewest were {least:?}"
        );
        let after = cluster.pods()?;
        // By uid: a pod of before that was seen on its way out was not ready any more.
        let among = |pods: &[Pod], pod: &Pod| pods.iter().any(|other| other.uid == pod.uid);
        let twice = seen.iter().find(|pod| !among(&before, pod) && !among(&after, pod));
        ensure!(twice.is_none(), "{twice:?} was replaced twice: {after:?}");
        Ok(format!(
            "killed {points}: the rest of the rollout converged in {}; {}",
            spelled(took),
            trial.end("while the operator was killed in a rollout")?
        ))
    });
}

/// After the first eviction, and while the ring settles; answers that in words, and the pods that were there then.
fn at_two_points(
    kubectl: &Kubectl,
    cluster: &CacheCluster<'_>,
    before: &[Pod],
) -> Result<(String, Vec<Pod>)> {
    wait_evicted(kubectl, before)?;
    let epoch = epoch(&kubectl.get("cc", NAME)?);
    Operator::kill()?;
    let first = before.last().map(|last| cluster.wait_replaced(last)).transpose()?;
    wait_settling(kubectl, epoch)?;
    Operator::kill()?;
    Ok(("after the first eviction and while the ring settled".to_owned(), first.into_iter().collect()))
}

/// As soon as the ledger has moved on, so many times: whoever leads takes one step at most.
fn at_steps(
    kubectl: &Kubectl,
    cluster: &CacheCluster<'_>,
    from: Version,
    points: u64,
) -> Result<(String, Vec<Pod>)> {
    let (mut last, mut at, mut seen) = (from, Vec::new(), Vec::new());
    for _ in 0..points {
        last = versions::wait_ledger_above(kubectl, last)?;
        let reason = condition(&kubectl.get("cc", NAME)?, "RingConverged")["reason"].clone();
        Operator::kill()?;
        at.push(format!("{last} {}", reason.as_str().unwrap_or("?")));
        seen.extend(cluster.pods()?);
    }
    Ok((format!("{points} times, after each step ({})", at.join(", ")), seen))
}

/// Waits until the first pod of a rollout is being stopped.
fn wait_evicted(kubectl: &Kubectl, before: &[Pod]) -> Result<()> {
    wait::until("the first eviction", LIMIT, || {
        for pod in before {
            let now = kubectl.get("pod", &pod.name)?;
            if now["metadata"]["deletionTimestamp"].is_string() {
                return Ok(Seen::Reached(()));
            }
        }
        Ok(Seen::NotYet("no pod is being stopped".to_owned()))
    })
}

fn epoch(cc: &Value) -> Option<u64> {
    cc["status"]["membership"]["epoch"].as_u64()
}

/// Waits until the next operator, which writes under a higher epoch, says that the ring settles.
fn wait_settling(kubectl: &Kubectl, before: Option<u64>) -> Result<()> {
    let of = |cc: &Value| condition(cc, "RingConverged");
    let settling = |cc: &Value| {
        let reason = of(cc)["reason"].clone();
        epoch(cc) > before && ["Settling", "MembersJoining"].iter().any(|settles| reason == *settles)
    };
    let shown = |cc: &Value| format!("{:?} {}", epoch(cc), of(cc));
    kubectl.wait(("cc", NAME), "settling", LIMIT, settling, shown).map(drop)
}
