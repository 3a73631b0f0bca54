//! An owner dies, or freezes, under callers of warm keys: the others go on.

use std::net::SocketAddr;
use std::time::Duration;

use groupcache_e2e::counting::CountingSource;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::readers::{Readers, SLICE, warm};
use groupcache_e2e::scenario::{Scenario, spelled};
use groupcache_e2e::wait::{self, Seen};
use serde_json::json;

const KEYS: usize = 900;
const CALLERS: usize = 64;
const LOAD: Duration = Duration::from_millis(1);
const BEFORE: Duration = Duration::from_secs(2);
const FREEZE: Duration = Duration::from_secs(10);
/// So long the others may need to find out.
const SETTLE: Duration = Duration::from_millis(300);
/// The slowest Get of a killed owner's key; a refused connection is found out in a round trip, and these machines are busy.
const SLOWEST: Duration = Duration::from_secs(1);

fn start(name: &'static str, source: &CountingSource) -> anyhow::Result<(Nodes, Vec<SocketAddr>)> {
    let configuration = json!({
        // Without a hot cache, so that every key of the lost node is asked of it.
        "groups": [{"name": "counters", "loader": "source", "maxBytes": "32Mi", "hotPercent": 0}],
        "loaders": [{"name": "source", "http": {"url": format!("http://{}/{{key}}", source.address)}}],
    });
    let nodes = Nodes::start_with(name, 3, &configuration)?;
    nodes.wait_serving()?;
    let data: Vec<SocketAddr> = nodes.nodes.iter().map(|node| node.addresses()[0]).collect();
    warm(&data, "counters", KEYS)?;
    Ok((nodes, data))
}

/// Waits for so long: what happens meanwhile is what is measured.
fn watch(time: Duration) {
    std::thread::sleep(time);
}

fn killed() -> anyhow::Result<String> {
    let source = CountingSource::start(LOAD)?;
    let (mut nodes, data) = start("owner_killed_warm", &source)?;
    let owned = nodes.nodes[1].main_entries("counters")?;
    let readers = Readers::begin(&data[..1], CALLERS / 2, "counters", KEYS);
    let others = Readers::begin(&data[2..], CALLERS / 2, "counters", KEYS);
    watch(BEFORE);
    let (loads, _) = (source.loads(), (readers.longest(), others.longest()));
    nodes.nodes[1].process()?.signal("KILL")?;
    let before = readers.gets();
    wait::until("Gets after the kill", Duration::from_secs(30), || {
        let gets = readers.gets() - before;
        Ok(if gets > 2_000 { Seen::Reached(()) } else { Seen::NotYet(format!("{gets} Gets")) })
    })?;
    watch(BEFORE);
    let added = source.loads() - loads;
    let longest = readers.longest().max(others.longest());
    let failures: Vec<String> = readers.end().into_iter().chain(others.end()).collect();
    anyhow::ensure!(failures.is_empty(), "{} Gets failed: {failures:#?}", failures.len());
    // What the second owner loads it keeps for seconds, so in the seconds of this test it may load a key twice.
    anyhow::ensure!(added <= owned * 3, "{added} loads were added; the killed node owned {owned} keys");
    anyhow::ensure!(longest < SLOWEST, "the longest Get took {}", spelled(longest));
    Ok(format!(
        "kill -9 under {CALLERS} callers of {KEYS} warm keys: 0 Gets failed, longest {}, {added} loads added for {owned} keys it owned",
        spelled(longest)
    ))
}

fn frozen() -> anyhow::Result<String> {
    let source = CountingSource::start(LOAD)?;
    let (mut nodes, data) = start("frozen", &source)?;
    let readers = Readers::begin(&[data[0], data[2]], CALLERS, "counters", KEYS);
    watch(BEFORE);
    let begun = readers.slice();
    let before = readers.in_slices(begun / 2, begun);
    let _ = readers.longest();
    nodes.nodes[1].process()?.signal("STOP")?;
    let frozen_at = readers.slice();
    watch(FREEZE);
    let thawed_at = readers.slice();
    nodes.nodes[1].process()?.signal("CONT")?;
    let settled = frozen_at + 1 + usize::try_from(SETTLE.as_millis() / SLICE.as_millis())?;
    let during = readers.in_slices(settled, thawed_at);
    let first_second = readers.in_slices(settled, settled + 10);
    let longest = readers.longest();
    watch(BEFORE);
    let failures = readers.end();
    anyhow::ensure!(failures.is_empty(), "{} Gets failed: {failures:#?}", failures.len());
    // Reported exactly; a failure only when it is grossly missed, because the machines are noisy.
    anyhow::ensure!(during > before / 10.0, "throughput fell from {before:.0} to {during:.0} Gets a slice");
    Ok(format!(
        "SIGSTOP of one of three nodes for 10 s under {CALLERS} callers: 0 Gets failed; throughput of the others {:.0} % of before from 300 ms on, {:.0} % in the first second of that; longest Get {}",
        during / before * 100.0,
        first_second / before * 100.0,
        spelled(longest)
    ))
}

/// Turned red by: a fetch that waits for its deadline when the connection is refused, or second owners that do not coalesce.
#[test]
fn a_killed_owner_costs_no_get_and_few_loads() {
    let scenario = Scenario::begin("owner_killed_warm");
    scenario.end(&killed().unwrap());
}

/// Turned red by: peers that wait for a frozen node as long as their callers do.
#[test]
fn a_frozen_node_costs_the_others_milliseconds() {
    let scenario = Scenario::begin("frozen");
    scenario.end(&frozen().unwrap());
}
