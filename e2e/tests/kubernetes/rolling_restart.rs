//! Five nodes restart one by one under load of warm keys: nobody notices, and the loader hardly does.
//!
//! With `GROUPCACHE_E2E_KEYS=1000000` there are so many keys instead of 10,000, and each is read once a minute.

use std::time::Instant;

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Wanted};
use groupcache_e2e::causes::Causes;
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::settings;
use groupcache_e2e::sources::Sources;
use groupcache_e2e::tally::Tally;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::watch::Watch;

const NODES: u32 = 5;
/// Nodes that are ready at any moment.
const LEAST: u64 = 4;
const KEYS: u64 = 10_000;
/// Loads that a restart of all nodes may add, as a share of the keys. What is promised is a twentieth, on machines that have time; where nodes
/// wait for a processor, Gets go to second owners, and each of those loads for itself. Without take-over it would be more than all keys.
const MOST_ADDED: f64 = 0.15;
/// As fast as answers come, key by key.
const LOAD: &str = "--group unicode --keys=10000 --zipf 0 --callers 64 --until-signal";
/// Bytes of a value where there are many keys.
const VALUE_BYTES: usize = 40;

/// Turned red by: a node that goes before the ring is at rest, one that closes its port before clients have learnt of it, one that
/// leaves without its entries being taken over, or a take-over that brings back what was removed.
#[test]
fn a_rolling_restart_fails_no_get_and_adds_few_loads() {
    scenario("rolling_restart", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let wanted = Wanted { replicas: NODES, drain_seconds: 10, ..sources.wanted() };
        let asked = settings::number("KEYS");
        let (keys, wanted) = (asked.unwrap_or(KEYS), if asked.is_some() { roomy(wanted) } else { wanted });
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let before = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, before.len())?;
        let began = Instant::now();
        match asked {
            None => sources.fill(&fleet, usize::try_from(keys)?)?,
            Some(_) => sources.fill_in_batches(&fleet, keys, VALUE_BYTES)?,
        }
        let filled = began.elapsed();
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let line = asked.map_or_else(|| LOAD.to_owned(), once_a_minute);
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &words(&line))?;
        let check = sources.check(&fleet)?;
        let tally = Tally::watch(kubectl, &machines, &fleet)?;
        let counted = Causes::of(&tally);
        let loads = sources.keys.loads();

        let ready = Watch::begin(kubectl, "ready", &["statefulset", NAME], "{.status.readyReplicas}")?;
        let began = Instant::now();
        kubectl.run(&["annotate", "cc", NAME, "groupcache.dev/restartedAt=now"])?;
        cluster.wait_all_replaced(&before)?;
        cluster.wait_converged(NODES)?;
        let took = began.elapsed();
        let added = sources.keys.loads() - loads;
        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("during a rolling restart")?;
        verdict.demand_none_stale()?;
        let least = ready.numbers().into_iter().min();
        ensure!(
            least == Some(LEAST),
            "one node may be away at a time, {LEAST} must be ready; the fewest were {least:?}"
        );
        let (causes, rate) = (Causes::of(&tally), report.per_second());
        // Each node's part goes to the others when it leaves, and comes back with it.
        let handed_over = causes.taken_over_since(&counted) as f64 / (2 * keys) as f64;
        let share = added as f64 / keys as f64;
        let line = format!(
            "{NODES} nodes in {}, filled in {}: {}, {} keys/s, {:.1} reads of a key a minute; {} loads added for {} warm keys, {:.1} % ({:.1} % of \
             what changed its owner was handed over; {}); {}; {}",
            spelled(took),
            spelled(filled),
            report.told(),
            grouped(rate as u64),
            rate * 60.0 / keys as f64,
            grouped(added),
            grouped(keys),
            share * 100.0,
            handed_over * 100.0,
            causes.since(&counted),
            versions.end()?,
            verdict.words()
        );
        ensure!(share <= MOST_ADDED, "too many loads were added: {line}");
        Ok(line)
    });
}

/// With room for all keys, and again as many that a node took over while another was away.
fn roomy(wanted: Wanted) -> Wanted {
    Wanted { memory: "1Gi", max_bytes: "320Mi", ..wanted }
}

/// Each key in its turn, in calls as large as applications make them.
fn once_a_minute(keys: u64) -> String {
    let rate = keys.div_ceil(60);
    format!("--group unicode --keys {keys} --in-turn --batch 128 --callers 16 --rate {rate} --until-signal")
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}
