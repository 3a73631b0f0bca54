//! A node is told to stop under load: it goes on until its clients have left, ends with exit code 0, and no Get fails.

use std::time::{Duration, Instant};

use groupcache_e2e::load;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, spelled};

/// Two seconds of drain, five over which connections are closed, and what a busy machine takes.
const LIMIT: Duration = Duration::from_secs(40);

/// Turned red by: a node that closes its port at the first SIGTERM, cuts Gets that are under way, or never ends.
#[test]
fn a_node_that_is_told_to_stop_fails_no_get_and_ends_well() {
    let scenario = Scenario::begin("drain");
    let loader = ProcessLoader::start("drain").unwrap();
    let mut nodes = Nodes::start("drain", 3, loader.address).unwrap();
    let load = load::start_process("drain-load", &nodes.addresses(), &load::CALLERS).unwrap();
    load::wait_running(|| loader.loads()).unwrap();

    let began = Instant::now();
    let leaving = nodes.nodes[1].process().unwrap();
    leaving.signal("TERM").unwrap();
    let status = leaving.wait(LIMIT).unwrap();
    let took = began.elapsed();
    let report = load::stop_process(load).unwrap();

    assert_eq!(status.code(), Some(0), "{status}");
    report.demand_no_errors("while a node drained").unwrap();
    scenario.end(&format!(
        "SIGTERM to one of three nodes: exit code 0 after {}, {}",
        spelled(took),
        report.told()
    ));
}
