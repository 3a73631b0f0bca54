//! A node that was killed starts again alone: it is back in the ring with the membership that it kept on disk.

use std::time::{Duration, Instant};

use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, spelled};

const LIMIT: Duration = Duration::from_secs(10);

/// Turned red by: a snapshot that is not written before it is in force, or not read at the start.
#[test]
fn a_killed_node_is_back_with_the_membership_that_it_kept() {
    let scenario = Scenario::begin("restart");
    let loader = ProcessLoader::start("restart").unwrap();
    let mut nodes = Nodes::start("restart", 3, loader.address).unwrap();
    assert_eq!(nodes.nodes[0].get("U+1F980").unwrap().body, "CRAB");
    let killed = nodes.nodes[0].process().unwrap();
    killed.signal("KILL").unwrap();
    killed.wait(LIMIT).unwrap();

    let began = Instant::now();
    nodes.restart_from_disk(0).unwrap();
    let took = began.elapsed();

    // Groups, loaders and members are all there: some of these keys are the others'.
    for key in 0..20 {
        let key = format!("U+{:X}", 0x1F400 + key);
        assert_eq!(nodes.nodes[0].get(&key).unwrap().status, 200, "{key}");
    }
    scenario.end(&format!(
        "a killed node was ready {} after its start, from its snapshot on disk",
        spelled(took)
    ));
}
