//! A loader is down, slow, never ends its answer or panics in it: only its own misses notice, and it soon recovers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use groupcache_e2e::caller::Caller;
use groupcache_e2e::counting::{CountingSource, Mood};
use groupcache_e2e::node::Nodes;
use groupcache_e2e::readers::warm;
use groupcache_e2e::scenario::{Scenario, spelled};
use groupcache_e2e::wait::{self, Seen};
use serde_json::json;

const WARM: usize = 50;
const TIME: Duration = Duration::from_secs(5);
/// What a Get may take that has nothing to do with the loader that fails: milliseconds, and the machines are busy.
const UNAFFECTED: Duration = Duration::from_secs(3);
/// Cold keys of the failing group that are asked for at the same time.
const HERD: usize = 200;
/// Memory that a fault may add to a node of 512 MiB; its budget for loads is far below, and what it was is told.
const GROWTH: f64 = 400.0 * 1024.0 * 1024.0;
const RECOVERY: Duration = Duration::from_secs(30);

/// The slowest of: a hit of the failing group, a hit and a load of the other one.
fn unaffected(node: SocketAddr, round: &str) -> anyhow::Result<Duration> {
    let mut caller = Caller::of(node);
    let mut slowest = Duration::ZERO;
    for n in 0..WARM {
        for target in [
            format!("/v1/groups/failing/keys/key-{n}"),
            format!("/v1/groups/sound/keys/key-{n}"),
            format!("/v1/groups/sound/keys/cold-{round}-{n}"),
        ] {
            let began = Instant::now();
            let (status, body) = caller.call("GET", &target, TIME)?;
            anyhow::ensure!(status == 200, "{target}: {status} {body}");
            slowest = slowest.max(began.elapsed());
        }
    }
    Ok(slowest)
}

/// Many ask for cold keys of the failing group; each is answered with a failure, in time.
fn herd(node: SocketAddr, round: &str) -> anyhow::Result<Duration> {
    let asked: Vec<_> = (0..HERD)
        .map(|n| {
            let target = format!("/v1/groups/failing/keys/cold-{round}-{n}");
            std::thread::spawn(move || {
                let began = Instant::now();
                (Caller::of(node).call("GET", &target, TIME), began.elapsed())
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for asked in asked {
        let (answer, took) = asked.join().map_err(|_| anyhow::anyhow!("a caller panicked"))?;
        let (status, body) = answer?;
        anyhow::ensure!([502, 503, 504].contains(&status), "{round}: {status} {body}");
        slowest = slowest.max(took);
    }
    anyhow::ensure!(slowest < TIME + UNAFFECTED, "{round}: an answer took {}", spelled(slowest));
    Ok(slowest)
}

fn faults() -> anyhow::Result<String> {
    let (failing, sound) = (CountingSource::start(Duration::ZERO)?, CountingSource::start(Duration::ZERO)?);
    let configuration = json!({
        "groups": [
            {"name": "failing", "loader": "failing", "maxBytes": "16Mi"},
            {"name": "sound", "loader": "sound", "maxBytes": "16Mi"},
        ],
        "loaders": [
            {"name": "failing", "http": {"url": format!("http://{}/{{key}}", failing.address)}},
            {"name": "sound", "http": {"url": format!("http://{}/{{key}}", sound.address)}},
        ],
    });
    let nodes = Nodes::start_with("loader_fails", 3, &configuration)?;
    nodes.wait_serving()?;
    let data: Vec<SocketAddr> = nodes.nodes.iter().map(|node| node.addresses()[0]).collect();
    warm(&data, "failing", WARM)?;
    warm(&data, "sound", WARM)?;
    let resident = || -> anyhow::Result<f64> {
        let mut most: f64 = 0.0;
        for node in &nodes.nodes {
            most = most.max(node.metric("process_resident_memory_bytes")?.unwrap_or_default());
        }
        Ok(most)
    };
    let before = resident()?;
    let mut told = Vec::new();
    for (round, mood, delay) in [
        ("down", Mood::Down, Duration::ZERO),
        ("slow", Mood::Answers, Duration::from_secs(30)),
        ("endless", Mood::Endless, Duration::ZERO),
        ("panicking", Mood::Panicking, Duration::ZERO),
    ] {
        failing.set_mood(mood);
        failing.set_delay(delay);
        let herd = std::thread::spawn({
            let (node, round) = (data[0], round.to_owned());
            move || herd(node, &round)
        });
        let slowest = unaffected(data[0], round)?;
        anyhow::ensure!(slowest < UNAFFECTED, "{round}: an unaffected Get took {}", spelled(slowest));
        let refused = herd.join().map_err(|_| anyhow::anyhow!("the herd panicked"))??;
        let grown = resident()? - before;
        anyhow::ensure!(grown < GROWTH, "{round}: memory grew by {grown:.0} bytes");
        failing.set_mood(Mood::Answers);
        failing.set_delay(Duration::ZERO);
        let mended = Instant::now();
        let mut caller = Caller::of(data[0]);
        wait::until("the loader's group to recover", RECOVERY, || {
            let (status, body) =
                caller.call("GET", &format!("/v1/groups/failing/keys/after-{round}"), TIME)?;
            Ok(if status == 200 { Seen::Reached(()) } else { Seen::NotYet(format!("{status} {body}")) })
        })?;
        told.push(format!(
            "{round}: others at most {}, {HERD} cold Gets refused within {}, memory +{:.0} MiB, recovered after {}",
            spelled(slowest),
            spelled(refused),
            grown / 1024.0 / 1024.0,
            spelled(mended.elapsed())
        ));
    }
    Ok(told.join("; "))
}

/// Turned red by: loads without a bound or a timeout, a guard that groups share, an answer that is read to its end whatever its length, or half a body
/// that is taken for a value.
#[test]
fn a_loader_that_fails_harms_nobody_but_its_own_misses() {
    let scenario = Scenario::begin("loader_fails");
    scenario.end(&faults().unwrap());
}
