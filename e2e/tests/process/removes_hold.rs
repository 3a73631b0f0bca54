//! A Remove that has succeeded holds at every node: through restarts, a freeze, a cut and a kill.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use groupcache_e2e::checker::{Check, Load};
use groupcache_e2e::counting::CountingSource;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::Scenario;
use groupcache_e2e::settings;
use groupcache_e2e::wait::{self, Seen};
use serde_json::json;

/// A load that overlaps Removes.
const LOAD: Duration = Duration::from_millis(5);
/// For so long the nodes serve by a grant: short, so that a scenario of seconds sees grants run out.
const BOUND: &str = "1s";
/// Frozen for longer than grants last.
const FREEZE: Duration = Duration::from_secs(3);
/// Cut off for so long.
const CUT: Duration = Duration::from_secs(4);
/// How long a phase between two faults lasts where nobody asks for more: `GROUPCACHE_E2E_SECONDS` is the whole run.
const PHASE: Duration = Duration::from_secs(1);

fn check(name: &'static str, count: usize) -> anyhow::Result<()> {
    let scenario = Scenario::begin(name);
    let source = CountingSource::start(LOAD)?;
    let configuration = json!({
        "groups": [{"name": "counters", "loader": "source", "maxBytes": "16Mi", "hotPercent": 30}],
        "loaders": [{"name": "source", "http": {"url": format!("http://{}/{{key}}", source.address)}}],
        "purgeTimeout": "300ms",
        "stalenessBound": BOUND,
    });
    let mut nodes = Nodes::start_with(name, count, &configuration)?;
    let data: Vec<SocketAddr> = nodes.nodes.iter().map(|node| node.addresses()[0]).collect();
    let load = Load { keys: 16, removers: 2, readers: 4 };
    let check = Check::begin(&source, &data, "counters", load);
    let began = Instant::now();
    let whole = settings::number("SECONDS").map_or(Duration::ZERO, Duration::from_secs);
    let (mut rounds, mut least, mut cut_off) = (0, u64::MAX, 0);
    loop {
        least = least.min(goes_on(&check)?);
        // A rolling restart.
        for at in 0..count {
            nodes.stop(at)?;
            nodes.launch(at)?;
            nodes.nodes[at].wait_ready()?;
        }
        goes_on(&check)?;
        // Frozen: its clock goes on, it answers nobody, and knows nothing of it.
        nodes.nodes[0].process()?.signal("STOP")?;
        wait_for(FREEZE);
        nodes.nodes[0].process()?.signal("CONT")?;
        goes_on(&check)?;
        // Cut off from its peers, but not from its readers, which it goes on to answer.
        nodes.nodes[2].cable()?.cut();
        wait_for(CUT);
        cut_off += goes_on(&check)?;
        nodes.nodes[2].cable()?.mend();
        goes_on(&check)?;
        nodes.nodes[1].process()?.signal("KILL")?;
        goes_on(&check)?;
        nodes.launch(1)?;
        nodes.nodes[1].wait_ready()?;
        goes_on(&check)?;
        rounds += 1;
        if began.elapsed() >= whole {
            break;
        }
    }
    let verdict = check.end();
    assert_eq!(verdict.stale, 0, "{}: {:#?}", verdict.words(), verdict.told);
    assert!(verdict.removes > 100 && least > 0, "{}", verdict.words());
    scenario.end(&format!(
        "{count} nodes, {rounds} rounds of a rolling restart, a freeze of 3 s, a cut of 5 s ({cut_off} Removes meanwhile) and a kill: {}; {} loads",
        verdict.words(),
        source.loads()
    ));
    Ok(())
}

/// Waits for a phase, and until Removes succeed in it; answers how many.
fn goes_on(check: &Check) -> anyhow::Result<u64> {
    let before = check.removes();
    wait_for(PHASE);
    let until = Duration::from_secs(60);
    wait::until("Removes to succeed", until, || {
        let now = check.removes();
        Ok(if now > before { Seen::Reached(now - before) } else { Seen::NotYet(format!("{now} Removes")) })
    })
}

/// Time itself is what a phase consists of: the checker works meanwhile.
fn wait_for(time: Duration) {
    std::thread::sleep(time);
}

/// Turned red by: a node that serves copies without asking for grants, or a Remove that does not wait until they have run out.
#[test]
fn removes_hold_on_three_nodes_through_restarts_a_freeze_and_a_kill() {
    check("removes_hold_3", 3).unwrap();
}

#[test]
fn removes_hold_on_five_nodes_through_restarts_a_freeze_and_a_kill() {
    check("removes_hold_5", 5).unwrap();
}
