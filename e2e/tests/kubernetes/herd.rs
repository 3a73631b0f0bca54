//! A thousand callers ask for one cold key at the same moment: the loader is asked once.

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, Wanted};
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};

const COLD: &str = "U+1F980";

/// Turned red by: a Get that starts a load without joining the flight of its key, or an owner that two nodes do not agree on.
#[test]
fn a_thousand_gets_of_a_cold_key_make_one_load() {
    scenario("herd", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;

        let arguments = ["--group", "unicode", "--cold-key", COLD, "--concurrent", "1000"];
        let report = PodLoad::start(kubectl, "herd", &cluster.address(), &arguments)?.finish()?;

        report.demand_no_errors("herd")?;
        ensure!(report.found() == 1000, "{} of 1,000 Gets got the value", report.found());
        let loads = loader.loads_of(COLD)?;
        ensure!(loads == 1, "{loads} loads of one key");
        Ok(format!(
            "{} Gets of one cold key at three nodes, {loads} load, {} errors, p99 {}",
            grouped(report.gets()),
            report.errors(),
            spelled(report.p99())
        ))
    });
}
