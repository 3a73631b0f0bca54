//! A node is killed without a word: what it owned is answered by the others at once, and loaded once for all of them.

use std::time::{Duration, Instant};

use groupcache_e2e::load;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, spelled};

/// Of fresh keys a third belongs to the killed node.
const KEYS: u64 = 200;
/// A refused connection is found out in a round trip; the bound is that times a hundred, for machines that are busy.
const SLOWEST: Duration = Duration::from_secs(2);

/// Turned red by: a Get that fails when the owner cannot be reached, or that falls back to a load of its own at every node
/// instead of to the second owner.
#[test]
fn keys_of_a_killed_owner_are_answered_by_the_second_owner() {
    let scenario = Scenario::begin("owner_killed");
    let loader = ProcessLoader::start("owner_killed").unwrap();
    let mut nodes = Nodes::start("owner_killed", 3, loader.address).unwrap();
    let load = load::start_process("owner_killed-load", &nodes.addresses(), &load::CALLERS).unwrap();
    load::wait_running(|| loader.loads()).unwrap();

    nodes.nodes[1].process().unwrap().signal("KILL").unwrap();

    let mut slowest = Duration::ZERO;
    for key in 0..KEYS {
        // Egyptian hieroglyphs: beyond the keys of the load.
        let key = format!("U+{:X}", 0x13000 + key);
        for index in [0, 2] {
            let began = Instant::now();
            let answer = nodes.nodes[index].get(&key).unwrap();
            slowest = slowest.max(began.elapsed());
            assert_eq!(answer.status, 200, "{key} at node {}: {}", nodes.nodes[index].name, answer.body);
        }
        assert_eq!(loader.loads_of(&key).unwrap(), 1, "loads of {key}");
    }
    assert!(slowest < SLOWEST, "the slowest Get took {}", spelled(slowest));
    let report = load::stop_process(load).unwrap();
    report.demand_no_errors("while an owner was killed").unwrap();
    scenario.end(&format!(
        "kill -9 of one of three nodes: {}; {KEYS} fresh keys at both others: 1 load each, slowest Get {}",
        report.told(),
        spelled(slowest)
    ));
}
