//! A node's metrics as Prometheus itself judges them: well formed, and named as its users expect.

use std::process::Command;

use groupcache_e2e::http;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::program;
use groupcache_e2e::scenario::Scenario;

/// Turned red by: a counter that does not end in `_total`, a unit that is no base unit, a metric without help, or a family
/// whose samples do not stand together.
#[test]
fn promtool_finds_nothing_to_say_about_a_nodes_metrics() {
    let scenario = Scenario::begin("metrics");
    let loader = ProcessLoader::start("metrics").unwrap();
    let nodes = Nodes::start("metrics", 2, loader.address).unwrap();
    // One load and one fetch, so that what is counted only then is there too.
    for node in &nodes.nodes {
        assert_eq!(node.get("U+1F980").unwrap().body, "CRAB");
    }

    let [_, _, admin] = nodes.nodes[0].addresses();
    let metrics = http::send("GET", admin, "/metrics").unwrap().body;
    let judged = program::run(Command::new("promtool").args(["check", "metrics"]), Some(&metrics)).unwrap();

    assert!(judged.success, "promtool says: {}{}", judged.output, judged.errors);
    let families = metrics.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert!(families > 20, "only {families} families: {metrics}");
    scenario.end(&format!("promtool finds nothing to say about the {families} metrics of a node"));
}
