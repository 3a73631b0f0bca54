//! A thousand callers ask three nodes for one cold key while the loader is slow: the loader is asked once.

use groupcache_e2e::load;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, grouped, spelled};
use serde_json::json;

const COLD: &str = "U+1F980";

/// What the load itself takes.
const LOAD_MS: u64 = 300;

fn herd(name: &'static str, count: usize, callers: u64) -> anyhow::Result<String> {
    let loader = ProcessLoader::start(name)?;
    let nodes = Nodes::start(name, count, loader.address)?;
    nodes.wait_serving()?;
    // Every caller arrives while the load is under way.
    loader.set_faults(&json!({"delay_ms": LOAD_MS}))?;

    let callers_text = callers.to_string();
    let arguments = ["--group", "unicode", "--cold-key", COLD, "--concurrent", &callers_text];
    let load = load::start_process(&format!("{name}-load"), &nodes.addresses(), &arguments)?;
    let report = load::finish_process(load)?;

    report.demand_no_errors(name)?;
    anyhow::ensure!((report.found(), loader.loads_of(COLD)?) == (callers, 1), "one load for all: {report:?}");
    Ok(format!(
        "{} Gets of one cold key at {count} nodes, 1 load of {LOAD_MS} ms, {} errors, p99 {}",
        grouped(report.gets()),
        report.errors(),
        spelled(report.p99())
    ))
}

/// Turned red by: a Get that starts a load without joining the flight of its key.
#[test]
fn a_thousand_gets_of_a_cold_key_make_one_load() {
    let scenario = Scenario::begin("herd");
    scenario.end(&herd("herd", 3, 1_000).unwrap());
}

#[test]
fn ten_thousand_gets_of_a_cold_key_at_five_nodes_make_one_load() {
    let scenario = Scenario::begin("herd_10000");
    scenario.end(&herd("herd_10000", 5, 10_000).unwrap());
}
