//! A packet filter cuts a node off from its peers, not from its callers: Removes hold, and every Get is answered.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use groupcache_e2e::checker::{Check, Load};
use groupcache_e2e::counting::CountingSource;
use groupcache_e2e::lan::Lan;
use groupcache_e2e::node::{Nodes, OWN_PORTS};
use groupcache_e2e::readers::{Readers, warm};
use groupcache_e2e::scenario::{Scenario, grouped, spelled};
use groupcache_e2e::wait::{self, Seen};
use serde_json::json;

const NODES: usize = 3;
/// The one that is cut off.
const CUT: usize = 2;
const LOAD: Load = Load { keys: 16, removers: 2, readers: 4 };
/// A load that overlaps Removes.
const LOAD_TIME: Duration = Duration::from_millis(5);
/// Short, so that a scenario of seconds sees grants run out; longer than a busy machine lets a beat wait.
const BOUND: &str = "2s";
/// Removes may stand still for a bound and what comes with it: the purge timeout, beats, and a busy machine.
const STANDSTILL: Duration = Duration::from_secs(5);
/// How long a phase lasts.
const PHASE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(30);

/// Waits until so many Removes have succeeded that not all of them can have been under way at the beginning; how long that took.
fn removes_go_on(check: &Check) -> Result<Duration> {
    let (began, before) = (Instant::now(), check.removes());
    let under_way = (LOAD.keys * LOAD.removers) as u64;
    wait::until("Removes to succeed", LIMIT, || {
        let now = check.removes() - before;
        Ok(if now > under_way { Seen::Reached(()) } else { Seen::NotYet(format!("{now} did")) })
    })?;
    Ok(began.elapsed())
}

/// Time itself is what a phase consists of: the checker works meanwhile.
fn watch(time: Duration) {
    thread::sleep(time);
}

fn start(lan: &Lan) -> Result<(CountingSource, Nodes)> {
    let source = CountingSource::start_at(lan.clients.address, LOAD_TIME)?;
    let configuration = json!({
        "groups": [{"name": "counters", "loader": "source", "maxBytes": "16Mi", "hotPercent": 30}],
        "loaders": [{"name": "source", "http": {"url": format!("http://{}/{{key}}", source.address)}}],
        "purgeTimeout": "300ms",
        "stalenessBound": BOUND,
    });
    let nodes = Nodes::start_on(lan, "cut_off", &configuration)?;
    nodes.wait_serving()?;
    Ok((source, nodes))
}

fn cut_off() -> Result<String> {
    let lan = Lan::make("cut_off", NODES)?;
    lan.enter()?;
    let (source, nodes) = start(&lan)?;
    let data: Vec<SocketAddr> = nodes.nodes.iter().map(|node| node.addresses()[0]).collect();
    let check = Check::begin(&source, &data, "counters", LOAD);
    watch(PHASE);

    let cut = &nodes.nodes[CUT];
    let passed = || -> Result<f64> {
        let name = "groupcache_passed_through_total{group=\"counters\"}";
        cut.metric(name)?.with_context(|| format!("there is no {name}"))
    };
    let passed_before = passed()?;
    lan.cut_off(CUT, OWN_PORTS[1])?;
    let readers = Readers::begin(&data[CUT..=CUT], LOAD.readers, "counters", LOAD.keys);
    let standstill = removes_go_on(&check)?;
    cut.wait_serving(false)?;
    let removed_before = check.removes();
    watch(PHASE);
    let removed = check.removes() - removed_before;
    for node in nodes.nodes.iter().filter(|node| node.name != cut.name) {
        node.wait_serving(true)?;
    }
    let passed = passed()? - passed_before;
    let (gets, longest) = (readers.gets(), readers.longest());
    let failures = readers.end();

    lan.mend(CUT)?;
    let mended = Instant::now();
    nodes.wait_serving()?;
    let recovered = mended.elapsed();
    removes_go_on(&check)?;
    let verdict = check.end();
    let kept = kept_again(&data, &source, mended)?;

    ensure!(verdict.stale == 0, "{}: {:#?}", verdict.words(), verdict.told);
    ensure!(verdict.failed_reads == 0, "Gets were not answered: {}", verdict.words());
    ensure!(
        failures.is_empty(),
        "{} Gets failed at the node that was cut off: {failures:#?}",
        failures.len()
    );
    ensure!(gets > 0 && passed > 0.0, "{gets} Gets at the node that was cut off, {passed} passed through");
    ensure!(standstill < STANDSTILL, "Removes stood still for {}", spelled(standstill));
    ensure!(removed > 0, "no Remove succeeded once the staleness bound had passed");
    Ok(format!(
        "one of {NODES} nodes cut off from its peers by a packet filter, staleness bound {BOUND}: Removes stood still for {}, then {} succeeded in {}; \
         {} more Gets at the node that was cut off, longest {}, 0 failed, {passed} passed through; it served copies {} after the cut was mended, and all \
         {} keys were kept everywhere again after {}; {}; {} loads",
        spelled(standstill),
        grouped(removed),
        spelled(PHASE),
        grouped(gets),
        spelled(longest),
        spelled(recovered),
        LOAD.keys,
        spelled(kept),
        verdict.words(),
        grouped(source.loads())
    ))
}

/// Waits until Gets of all keys at all nodes load nothing; how long after `since` that was.
fn kept_again(data: &[SocketAddr], source: &CountingSource, since: Instant) -> Result<Duration> {
    wait::until("Gets that load nothing", LIMIT, || {
        let before = source.loads();
        warm(data, "counters", LOAD.keys)?;
        let loads = source.loads() - before;
        Ok(if loads == 0 { Seen::Reached(()) } else { Seen::NotYet(format!("{loads} loads")) })
    })?;
    Ok(since.elapsed())
}

/// Turned red by: a node that serves copies whether it has grants or not, a Remove that waits for an unreachable node for ever, or a filter that drops nothing.
#[test]
fn a_node_that_a_packet_filter_cuts_off_serves_nothing_stale_and_goes_on_answering() {
    let scenario = Scenario::begin("cut_off");
    // On a thread of its own, for it does not come back from the namespace that it enters.
    let line = thread::spawn(cut_off).join().expect("the scenario's thread ends").unwrap();
    scenario.end(&line);
}
