//! The leading operator is stopped until another leads, and goes on in the midst of changes.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::audit;
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted};
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::{self, PodLoad};
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::program;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::stopped::Stopped;
use groupcache_e2e::versions::{Version, Versions};
use groupcache_e2e::watch::Watch;

const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];
/// Changes of the configuration around each moment that matters, so that somebody is in the midst of one.
const CHANGES: u32 = 5;

/// Turned red by: an operator that writes the ledger over a state that it has not read, one that counts on from the version that it remembers,
/// one that goes on without the Lease, or a node that adopts an older membership.
#[test]
fn of_two_operators_that_both_take_themselves_for_the_leader_one_is_followed() {
    scenario("two_leaders", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let mut wanted = sources.wanted();
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let fleet = Fleet::follow(kubectl, 3)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let ledger =
            Watch::begin(kubectl, "ledger", &["configmap", &format!("{NAME}-ledger")], "{.data.version}")?;
        let check = sources.check(&fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;

        let deposed = Operator::leader()?;
        let (address, restarts) = (Operator::address(&deposed)?, Operator::restarts(&deposed)?);
        change(&cluster, &mut wanted)?;
        let stopped = Stopped::container(&format!("POD_NAME={deposed}"))?;
        let began = Instant::now();
        let successor = Operator::wait_successor(&deposed)?;
        let taken_over = began.elapsed();
        // In the midst of what the successor does about it, and before its liveness probe ends the one that is stopped.
        replace_a_pod(kubectl, &cluster)?;
        change(&cluster, &mut wanted)?;
        let moment = moment()?;
        drop(stopped);
        change(&cluster, &mut wanted)?;
        let began = Instant::now();
        let words = Operator::wait_restarted(&deposed, restarts)?;
        let noticed = began.elapsed();
        ensure!(words.contains("no longer leads"), "{deposed} ended with other words: {words}");
        ensure!(Operator::leader()? == successor, "{successor} led and does not any more");
        wanted.groups.push(("second", 3600));
        cluster.change(&wanted)?;
        cluster.wait_converged(3)?;

        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("while two operators took themselves for the leader")?;
        verdict.demand_none_stale()?;
        Ok(format!(
            "the leader stopped: another one after {}; it went on and ended {} later, {}; the ledger only rose, {}; {}; {}; {}",
            spelled(taken_over),
            spelled(noticed),
            late_writes(&address, &moment)?,
            risen(&ledger)?,
            report.told(),
            versions.end()?,
            verdict.words()
        ))
    });
}

/// Changes a group's ttl a few times in a row.
fn change(cluster: &CacheCluster<'_>, wanted: &mut Wanted) -> Result<()> {
    for _ in 0..CHANGES {
        wanted.groups[0].1 += 1;
        cluster.change(wanted)?;
    }
    Ok(())
}

/// Only who leads lets the next pod of that name into the ring.
fn replace_a_pod(kubectl: &Kubectl, cluster: &CacheCluster<'_>) -> Result<()> {
    let old = cluster.pods()?.swap_remove(1);
    kubectl.run(&["delete", "pod", &old.name, "--wait=false"])?;
    cluster.wait_replaced(&old).map(drop)
}

/// Now, as the audit log spells it.
fn moment() -> Result<String> {
    let said = program::output(Command::new("date").args(["--utc", "+%Y-%m-%dT%H:%M:%S.%6NZ"]), None)?;
    Ok(said.trim().to_owned())
}

/// What the deposed operator wrote after it went on, in words: of the ledger nothing may have been taken.
fn late_writes(address: &str, moment: &str) -> Result<String> {
    let writes = audit::writes_since(address, moment)?;
    let of_ledger: Vec<_> = writes.iter().filter(|write| write.name == format!("{NAME}-ledger")).collect();
    let taken = of_ledger.iter().find(|write| write.code < 300);
    ensure!(taken.is_none(), "a write of the ledger by who no longer led was taken: {writes:?}");
    Ok(format!(
        "having sent {} writes, {} of them of the ledger (answered {:?})",
        writes.len(),
        of_ledger.len(),
        of_ledger.iter().map(|write| write.code).collect::<Vec<_>>()
    ))
}

/// Whether the ledger's version only rose; answers from where to where.
fn risen(ledger: &Watch) -> Result<String> {
    let said = ledger.said();
    let versions: Vec<Version> = said.lines().filter_map(Version::read).collect();
    let fell = versions.windows(2).find(|pair| pair[1] < pair[0]);
    ensure!(fell.is_none(), "the ledger went back: {fell:?}");
    let (first, last) = (versions.first().context("no version was told")?, versions.last());
    Ok(format!("from {first} to {}", last.unwrap_or(first)))
}
