//! A machine of Kubernetes is cut off the network and comes back, then another one is drained: Gets go on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::sources::Sources;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};
use groupcache_e2e::watch::Watch;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(180);
/// Callers that do not wait longer than a second, with their failures second by second.
const IMPATIENT: [&str; 9] = [
    "--group",
    "unicode",
    "--keys=1000",
    "--zipf=0",
    "--callers",
    "32",
    "--until-signal",
    "--deadline=1s",
    "--timeline",
];
/// After so many seconds everyone has found a way round the machine that is lost.
const FOUND_A_WAY: u64 = 5;
/// Seconds by which the load's account and this scenario's clock may differ.
const BETWEEN_CLOCKS: u64 = 1;

/// Turned red by: a client or a node that goes on waiting for a machine that is gone, an operator that lets go of its budget, or nodes
/// of a machine that is back which nobody lets in.
#[test]
fn a_machine_is_cut_off_and_another_is_drained() {
    scenario("machine_lost", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let cluster = CacheCluster::up(kubectl, &sources.wanted())?;
        let (few, many) = cluster.machines()?;
        Operator::move_off(&few)?;
        let fleet = Fleet::follow(kubectl, 3)?;
        sources.fill(&fleet, 1000)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = sources.check(&fleet)?;

        let cut = cut_off(kubectl, &machines, &cluster, (&few, &many))?;
        let drained = drained(kubectl, &cluster, (&many, &few))?;
        let verdict = check.end();
        verdict.demand_none_stale()?;
        Ok(format!("{cut}; {drained}; {}; {}", versions.end()?, verdict.words()))
    });
}

/// A machine vanishes until the ring has gone on without it, and comes back.
fn cut_off(
    kubectl: &Kubectl,
    machines: &Machines,
    cluster: &CacheCluster<'_>,
    (lost, stays): (&str, &str),
) -> Result<String> {
    let load = PodLoad::start_on(kubectl, "impatient", stays, &cluster.address(), &IMPATIENT)?;
    wait_seconds(&load, 3)?;
    let (second, began) = (load.seconds(), Instant::now());
    let link = machines.cut_off(lost)?;
    let active = |cc: &Value| cc["status"]["membership"]["active"] == 2;
    kubectl.wait(("cc", NAME), "two own keys", LIMIT, active, |cc| cc["status"].to_string())?;
    let without = began.elapsed();
    drop(link);
    let began = Instant::now();
    cluster.wait_converged(3)?;
    let back = began.elapsed();
    let report = load.stop()?;
    let late = report.errors_after(second + FOUND_A_WAY + BETWEEN_CLOCKS);
    ensure!(
        late == 0,
        "{late} Gets failed more than {FOUND_A_WAY} s after the cut: {}",
        report.errors_told()
    );
    Ok(format!(
        "a machine cut off: the ring went on without it after {}, with it again {} after it was back; of {} Gets with a second of time {} failed \
         ({:.3} %), all within {FOUND_A_WAY} s of the cut",
        spelled(without),
        spelled(back),
        grouped(report.gets()),
        report.errors(),
        report.errors() as f64 / report.gets() as f64 * 100.0
    ))
}

/// A machine is emptied as an administrator does it; the cluster's budget says that one node may be away.
fn drained(kubectl: &Kubectl, cluster: &CacheCluster<'_>, (from, to): (&str, &str)) -> Result<String> {
    let watch = Watch::begin(kubectl, "budget", &["pdb", NAME], "{.status.currentHealthy}")?;
    let load = PodLoad::start_on(kubectl, "callers", to, &cluster.address(), &IMPATIENT[..7])?;
    wait_seconds(&load, 1)?;
    let moved = cluster.pods()?.into_iter().filter(|pod| pod.machine == from).count();
    let began = Instant::now();
    let emptied = Cordoned { kubectl, machine: from };
    let flags = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=180s"];
    kubectl.run(&[&["drain", from], &flags[..]].concat())?;
    cluster.wait_converged(3)?;
    let took = began.elapsed();
    drop(emptied);
    let report = load.stop()?;
    report.demand_no_errors("while a machine was drained")?;
    // It counts nobody before it has looked at all three.
    let least = watch.numbers().into_iter().skip_while(|healthy| *healthy < 3).min();
    ensure!(least == Some(2), "the budget wants 2 healthy pods; the fewest were {least:?}");
    Ok(format!("a machine with {moved} nodes drained: converged in {}, {}", spelled(took), report.told()))
}

fn wait_seconds(load: &PodLoad<'_>, seconds: u64) -> Result<()> {
    wait::until("the load to run", LIMIT, || {
        let now = load.seconds();
        Ok(if now >= seconds { Seen::Reached(()) } else { Seen::NotYet(format!("{now} s")) })
    })
}

/// Takes pods again when this is dropped, also when the scenario fails: others need it.
struct Cordoned<'a> {
    kubectl: &'a Kubectl,
    machine: &'a str,
}

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.kubectl.run(&["uncordon", self.machine]) {
            eprintln!("warning: {} takes no pods ({error:#}); other scenarios will miss it", self.machine);
        }
    }
}
