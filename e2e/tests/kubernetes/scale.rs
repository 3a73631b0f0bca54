//! Three nodes become six and three again under load: new ones get their share, the loader hardly notices.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, NAME, Pod, Wanted};
use groupcache_e2e::causes::Causes;
use groupcache_e2e::fleet::Fleet;
use groupcache_e2e::kubectl::Kubectl;
use groupcache_e2e::load::PodLoad;
use groupcache_e2e::machines::Machines;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::scenario::{grouped, spelled};
use groupcache_e2e::sources::Sources;
use groupcache_e2e::tally::Tally;
use groupcache_e2e::versions::Versions;
use groupcache_e2e::wait::{self, Seen};

const FEW: u32 = 3;
const MANY: u32 = 6;
const KEYS: usize = 10_000;
const LOAD: [&str; 8] =
    ["--group", "unicode", "--keys=10000", "--zipf", "0", "--callers", "64", "--until-signal"];
const GROUP: &str = "group=\"unicode\"";
/// Loads that one change of size may add, as a share of the keys. A twentieth is the aim; on machines where nodes wait for a processor
/// it is more at times. Half of all keys move: without take-over and peeks it would be half.
const MOST_ADDED: f64 = 0.15;
/// What a new node must get of the Gets, as a share of an equal part. The client takes nodes in turn, so that it is nearly all of it.
const FAIR: f64 = 0.8;
/// Gets are counted for so long to tell the nodes' shares.
const WINDOW: Duration = Duration::from_secs(3);
/// The client looks for new addresses every 5 s, and the cluster's DNS may keep them for as long. Beyond this it does not look at all,
/// and new nodes wait for the end of connections: ten minutes.
const SHARED_WITHIN: Duration = Duration::from_secs(30);
/// A drain, five seconds over which connections are closed, and what a busy machine takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Turned red by: a node that is Ready before it has a membership, a membership that is pushed to the new nodes only, a client that
/// stays with the addresses it knows, a leaving node that closes its port before clients have learnt of it, or a ring that moves without take-over.
#[test]
fn a_cluster_grows_and_shrinks_under_load() {
    scenario("scale", |kubectl| -> Result<String> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let wanted = Wanted { drain_seconds: 10, ..sources.wanted() };
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let first = cluster.pods()?;
        let fleet = Fleet::follow(kubectl, first.len())?;
        sources.fill(&fleet, KEYS)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let tally = Tally::watch(kubectl, &machines, &fleet)?;
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        let check = sources.check(&fleet)?;

        let (up, more) = scaled(kubectl, &cluster, (&sources, &tally), MANY)?;
        let new: Vec<Pod> = cluster.pods()?.into_iter().filter(|pod| !first.contains(pod)).collect();
        let (shared, least) = wait_shared(&cluster, &tally, &new, up)?;
        let (down, less) = scaled(kubectl, &cluster, (&sources, &tally), FEW)?;

        let (report, verdict) = (load.stop()?, check.end());
        report.demand_no_errors("while the cluster grew and shrank")?;
        verdict.demand_none_stale()?;
        Ok(format!(
            "{FEW} to {MANY} nodes: converged in {}, {more}; {} after the change was asked for each new node got at least {:.0} % of an equal part of the Gets; \
             {MANY} to {FEW}: the last pod gone after {}, {less}; {}; {}; {}",
            spelled(up),
            spelled(shared),
            least * 100.0,
            spelled(down),
            report.told(),
            versions.end()?,
            verdict.words()
        ))
    });
}

/// Changes the size, and waits for the ring and for the end of the pods that leave; answers what that took, and what it cost the loader in words.
fn scaled(
    kubectl: &Kubectl,
    cluster: &CacheCluster<'_>,
    (sources, tally): (&Sources, &Tally),
    nodes: u32,
) -> Result<(Duration, String)> {
    let (began, loads, counted) = (Instant::now(), sources.keys.loads(), Causes::of(tally));
    kubectl.run(&["scale", &format!("cc/{NAME}"), &format!("--replicas={nodes}")])?;
    cluster.wait_converged(nodes)?;
    // Pods that leave go on serving for the drain; what happens then is a part of it.
    wait::until(&format!("{nodes} pods to be left"), LIMIT, || {
        let pods = cluster.pods()?.len();
        Ok(if pods == nodes as usize { Seen::Reached(()) } else { Seen::NotYet(format!("{pods} pods")) })
    })?;
    let (took, added) = (began.elapsed(), sources.keys.loads() - loads);
    let share = added as f64 / KEYS as f64;
    ensure!(share <= MOST_ADDED, "{added} loads of {KEYS} keys were added, {:.1} %", share * 100.0);
    let causes = Causes::of(tally).since(&counted);
    Ok((
        took,
        format!("{} loads added for {KEYS} warm keys, {:.1} % ({causes})", grouped(added), share * 100.0),
    ))
}

/// Waits until every new node gets its part of what clients ask; answers when that was, and the smallest part.
fn wait_shared(
    cluster: &CacheCluster<'_>,
    tally: &Tally,
    new: &[Pod],
    before: Duration,
) -> Result<(Duration, f64)> {
    let all = cluster.pods()?;
    let asked = |pod: &Pod| {
        let of = |name| tally.of(&pod.uid, name, &[GROUP]);
        of("groupcache_gets_total") - of("groupcache_peer_gets_total")
    };
    let count = || -> Vec<u64> { all.iter().map(asked).collect() };
    let began = Instant::now();
    let mut window = (began, count());
    wait::until("new nodes to get their share of the Gets", SHARED_WITHIN, || {
        if window.0.elapsed() < WINDOW {
            return Ok(Seen::NotYet("still counting".to_owned()));
        }
        let now = count();
        let got: Vec<f64> = now.iter().zip(&window.1).map(|(now, was)| (now - was) as f64).collect();
        window = (Instant::now(), now);
        let part = got.iter().sum::<f64>() / all.len() as f64;
        let shares = all.iter().zip(&got).filter(|(pod, _)| new.contains(pod)).map(|(_, got)| got / part);
        let least = shares.fold(f64::INFINITY, f64::min);
        Ok(if least >= FAIR {
            Seen::Reached((before + began.elapsed(), least))
        } else {
            Seen::NotYet(format!("of {all:?} each got {got:?}"))
        })
    })
}
