//! The leading operator hangs while it writes the ledger: what it sent arrives once another leads, and is refused.

use std::net::IpAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use groupcache_e2e::audit::{self, Write};
use groupcache_e2e::cachecluster::NAME;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::operator::Operator;
use groupcache_e2e::program;
use groupcache_e2e::scenario::spelled;
use groupcache_e2e::spawned::Spawned;
use groupcache_e2e::stopped::Stopped;
use groupcache_e2e::stuck::Stuck;
use groupcache_e2e::trial::Trial;
use groupcache_e2e::versions::{self, Version};
use groupcache_e2e::wait::{self, Seen};
use groupcache_e2e::watch::Watch;

/// Groups that nobody asks: with them the ledger is by far the largest that the operator writes.
const FILLERS: [&str; 8] = [
    "filler-0-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-1-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-2-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-3-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-4-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-5-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-6-that-makes-the-ledger-larger-than-other-requests-are",
    "filler-7-that-makes-the-ledger-larger-than-other-requests-are",
];
/// A leader that has written nothing for so long has nothing to write: what it waits for within a reconcile takes less.
const QUIET: &str = "8 seconds ago";
/// By then a kernel has sent again what was lost: the pauses between its tries double, and the operator's liveness probe ends it after some 55 s.
const LIMIT: Duration = Duration::from_secs(60);

/// Turned red by: an operator that writes the ledger over a state that it has not read, one that counts on from the version that it remembers,
/// one that goes on without the Lease, or a node that adopts an older membership.
#[test]
fn what_a_deposed_operator_had_under_way_is_refused() {
    scenario("two_leaders", |kubectl| -> Result<String> {
        let mut trial = Trial::begin(kubectl, |wanted| {
            wanted.max_bytes = "4Mi";
            wanted.groups.extend(FILLERS.map(|name| (name, 3600)));
        })?;
        let ledger =
            Watch::begin(kubectl, "ledger", &["configmap", &format!("{NAME}-ledger")], "{.data.version}")?;
        let deposed = Operator::leader()?;
        let ((machine, address), restarts) = (Operator::place(&deposed)?, Operator::restarts(&deposed)?);
        let (process, words) = (format!("POD_NAME={deposed}"), Operator::listen(&deposed)?);
        wait_quiet(kubectl, address)?;
        let stuck = Stuck::large_requests(&trial.machines, &machine, address)?;
        change(&mut trial)?;
        let bytes = stuck.wait(&process)?;
        let stopped = Stopped::container(&process)?;
        let began = Instant::now();
        let before = versions::of_ledger(kubectl)?;
        let successor = Operator::wait_successor(&deposed)?;
        let taken_over = began.elapsed();
        versions::wait_ledger_above(kubectl, before)?;
        // In the midst of what the successor does about it, and before its liveness probe ends the one that is stopped.
        let old = trial.cluster.pods()?.swap_remove(1);
        kubectl.run(&["delete", "pod", &old.name, "--wait=false"])?;
        let moment = moment("now")?;
        drop(stuck);
        wait_late_write(address, &moment)?;
        let arrived = began.elapsed();
        change(&mut trial)?;
        drop(stopped);
        let noticed = wait_ended((&deposed, restarts), &words, &successor)?;
        trial.cluster.wait_replaced(&old)?;
        trial.wanted.groups.push(("second", 3600));
        trial.change()?;
        trial.cluster.wait_converged(3)?;

        Ok(format!(
            "the leader stopped with {bytes} bytes of the ledger under way: another one after {}, the bytes arrived after {}; it went on and ended \
             {} later, {}; the ledger only rose, {}; {}",
            spelled(taken_over),
            spelled(arrived),
            spelled(noticed),
            late_writes(address, &moment)?,
            risen(&ledger)?,
            trial.end("while two operators took themselves for the leader")?
        ))
    });
}

/// Waits until the leader has nothing to write: not for this cluster, and not for one that another scenario has left behind.
fn wait_quiet(kubectl: &Kubectl, address: IpAddr) -> Result<()> {
    wait::until("a leader that has nothing to write", LIMIT, || {
        let clusters = kubectl.run(&["get", "cc", "--all-namespaces", "--output", "name"])?.lines().count();
        let writes = audit::writes_since(&address.to_string(), &moment(QUIET)?)?;
        let quiet = clusters == 1 && writes.is_empty();
        Ok(if quiet { Seen::Reached(()) } else { Seen::NotYet(format!("{clusters} clusters, {writes:?}")) })
    })
}

/// Changes a group's ttl, and with it nothing but the ledger.
fn change(trial: &mut Trial<'_>) -> Result<()> {
    trial.wanted.groups[0].1 += 1;
    trial.change()
}

/// Waits until the operator that was deposed has ended as one that knows it; answers how long that took.
fn wait_ended((deposed, restarts): (&str, u64), words: &Spawned, successor: &str) -> Result<Duration> {
    let began = Instant::now();
    Operator::wait_restarted(deposed, restarts)?;
    let (noticed, words) = (began.elapsed(), words.said());
    ensure!(words.contains("no longer leads"), "{deposed} ended with other words: {words}");
    ensure!(Operator::leader()? == successor, "{successor} led and does not any more");
    Ok(noticed)
}

/// A moment, as `date` takes it, as the audit log spells it.
fn moment(when: &str) -> Result<String> {
    let format = "+%Y-%m-%dT%H:%M:%S.%6NZ";
    let said = program::output(Command::new("date").args(["--utc", "--date", when, format]), None)?;
    Ok(said.trim().to_owned())
}

/// What came of the ledger from this address after a moment.
fn of_ledger(address: IpAddr, moment: &str) -> Result<(Vec<Write>, usize)> {
    let writes = audit::writes_since(&address.to_string(), moment)?;
    let all = writes.len();
    Ok((writes.into_iter().filter(|write| write.name == format!("{NAME}-ledger")).collect(), all))
}

/// Waits until the API server has answered a write of the ledger that the stopped operator had sent.
fn wait_late_write(address: IpAddr, moment: &str) -> Result<()> {
    wait::until("the late write of the ledger", LIMIT, || {
        let (of_ledger, all) = of_ledger(address, moment)?;
        Ok(if of_ledger.is_empty() { Seen::NotYet(format!("{all} other writes")) } else { Seen::Reached(()) })
    })
}

/// What the deposed operator had written, in words: of the ledger something must have come late, and nothing may have been taken.
fn late_writes(address: IpAddr, moment: &str) -> Result<String> {
    let (of_ledger, all) = of_ledger(address, moment)?;
    let taken = of_ledger.iter().find(|write| write.code < 300);
    ensure!(taken.is_none(), "a write of the ledger by who no longer led was taken: {of_ledger:?}");
    let refused = of_ledger.iter().filter(|write| write.code == 409).count();
    ensure!(
        refused > 0,
        "no late write of the ledger was refused for what it was to be written over: {of_ledger:?}"
    );
    Ok(format!(
        "{all} of its writes came late, {} of them of the ledger (answered {:?})",
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
