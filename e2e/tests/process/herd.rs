//! A thousand callers ask three nodes for one cold key while the loader is slow: the loader is asked once.

use groupcache_e2e::load;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, grouped, spelled};
use serde_json::json;

const COLD: &str = "U+1F980";

/// Turned red by: a Get that starts a load without joining the flight of its key.
#[test]
fn a_thousand_gets_of_a_cold_key_make_one_load() {
    let scenario = Scenario::begin("herd");
    let loader = ProcessLoader::start("herd").unwrap();
    let nodes = Nodes::start("herd", 3, loader.address).unwrap();
    // Every caller arrives while the load is under way.
    loader.set_faults(&json!({"delay_ms": 300})).unwrap();

    let arguments = ["--group", "unicode", "--cold-key", COLD, "--concurrent", "1000"];
    let report =
        load::finish_process(load::start_process("herd-load", &nodes.addresses(), &arguments).unwrap())
            .unwrap();

    report.demand_no_errors("herd").unwrap();
    assert_eq!((report.found(), loader.loads_of(COLD).unwrap()), (1000, 1));
    scenario.end(&format!(
        "{} Gets of one cold key at three nodes, 1 load of 300 ms, {} errors, p99 {}",
        grouped(report.gets()),
        report.errors(),
        spelled(report.p99())
    ));
}
