//! Bytes that are no protocol, at every port of a node: it lives, and serves.

use groupcache_e2e::http;
use groupcache_e2e::loader::ProcessLoader;
use groupcache_e2e::node::Nodes;
use groupcache_e2e::scenario::Scenario;

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

    let mut sent = 0;
    for address in node.addresses() {
        for garbage in GARBAGE {
            for cut in [garbage.len(), garbage.len() / 2] {
                http::exchange_and_leave(address, &garbage[..cut]).unwrap();
                sent += 1;
            }
        }
    }

    assert!(node.process().unwrap().is_running().unwrap(), "the node has ended");
    assert_eq!(node.get("U+1F980").unwrap().body, "CRAB");
    scenario.end(&format!("{sent} pieces of garbage at three ports, the node lives and serves"));
}
