//! The operator is killed in a rollout, after the first eviction and again while the ring settles: it goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Pod, condition};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};
use groupcache_e2e::watch::Watch;
use serde_json::Value;

/// Nodes that are ready at any moment.
const LEAST: u64 = 2;
const LIMIT: Duration = Duration::from_secs(120);
const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];

/// Turned red by: an operator that forgets with its process which pods are left or how far the ring has settled and so takes two nodes
/// at a time, one that counts versions from what it remembers, or a Lease that nobody takes over.
#[test]
fn an_operator_killed_in_a_rollout_goes_on_where_it_was() {
    scenario("operator_killed", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let cluster = CacheCluster::up(kubectl, &sources.wanted())?;
        let before = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, before.len())?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = sources.check(&fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;

        let ready = Watch::begin(kubectl, "ready", &["statefulset", NAME], "{.status.readyReplicas}")?;
        kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/restartedAt=now"])?;
        wait_evicted(kubectl, &before)?;
        let epoch = epoch(&kubectl.get("cc", NAME)?);
        Operator::kill()?;
        let first = before.last().map(|last| cluster.wait_replaced(last)).transpose()?;
        wait_settling(kubectl, epoch)?;
        Operator::kill()?;
        let killed = Instant::now();
        cluster.wait_all_replaced(&before)?;
        cluster.wait_converged(3)?;
        let took = killed.elapsed();
        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("while the operator was killed in a rollout")?;
        verdict.demand_none_stale()?;
        let least = ready.numbers().into_iter().min();
        ensure!(
            least == Some(LEAST),
            "one node may be away at a time, {LEAST} must be ready; the fewest were {least:?}"
        );
        let after = cluster.pods()?;
        ensure!(first.iter().all(|pod| after.contains(pod)), "{first:?} was replaced twice: {after:?}");
        Ok(format!(
            "killed after the first eviction and while the ring settled: the rest of the rollout converged in {}; {}; {}; {}",
            spelled(took),
            report.told(),
            versions.end()?,
            verdict.words()
        ))
    });
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
