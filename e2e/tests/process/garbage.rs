//! Bytes that are no protocol, at every port of a node: it lives, and serves.

use std::time::{Duration, Instant};

use groupcache_e2e::http;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::{Scenario, spelled};

/// A node gives a connection up as soon as its caller has; the bound is for machines that are busy, and is less than the time
/// after which the scenario itself would leave.
const GIVEN_UP: Duration = Duration::from_secs(15);

/// Beginnings of protocols that go wrong. Each also once cut short, and the connection closed.
const GARBAGE: [&[u8]; 7] = [
    b"\0\xff\0\xff\0\xff\0\xff\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    // A SETTINGS frame that claims 16 MiB.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\0\0\0\0\0",
    // A DATA frame on a stream that was never opened.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\0\0\0\0\0\x01junk",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /groupcache.v1.CacheService/Get HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
];

/// Turned red by: a panic on a connection that takes the process with it, or a connection that is never given up.
#[test]
fn garbage_at_every_port_harms_nobody() {
    let scenario = Scenario::begin("garbage");
    let loader = ProcessLoader::start("garbage").unwrap();
    let mut nodes = Nodes::start("garbage", 1, loader.address).unwrap();
    let node = &mut nodes.nodes[0];

    let (mut sent, mut slowest) = (0, Duration::ZERO);
    for address in node.addresses() {
        for garbage in GARBAGE {
            for cut in [garbage.len(), garbage.len() / 2] {
                let began = Instant::now();
                http::exchange_and_leave(address, &garbage[..cut]).unwrap();
                slowest = slowest.max(began.elapsed());
                sent += 1;
            }
        }
    }

    assert!(node.process().unwrap().is_running().unwrap(), "the node has ended");
    assert_eq!(node.get("U+1F980").unwrap().body, "CRAB");
    assert!(slowest < GIVEN_UP, "a connection was given up after {}", spelled(slowest));
    scenario.end(&format!(
        "{sent} pieces of garbage at three ports, each given up within {}, the node lives and serves",
        spelled(slowest)
    ));
}
