//! What no honest client sends: each gets the answer of the contract, and the node lives.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use groupcache_e2e::cachecluster::{CacheCluster, Wanted};
use groupcache_e2e::forward::Forward;
use groupcache_e2e::http;
use groupcache_e2e::loader::PodLoader;
use groupcache_e2e::namespace::scenario;
use groupcache_e2e::program;
use groupcache_e2e::settings;

/// Bytes that are no protocol, and beginnings of protocols that go wrong.
const GARBAGE: [&[u8]; 5] = [
    b"\0\xff\0\xff\0\xff\0\xff",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"GET / HTTP/9.9\r\n\r\n",
    b"POST /groupcache.v1.CacheService/Get HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
];

/// Turned red by: a key that is not measured at the door, an unknown group that is answered as "no such key", or a panic on
/// a connection that takes the process with it.
#[test]
fn bad_input_gets_the_answers_of_the_contract_and_the_node_lives() {
    scenario("bad_input", |kubectl| -> Result<String> {
        let loader = PodLoader::deploy(kubectl)?;
        let cluster = CacheCluster::up(kubectl, &Wanted::three(loader.target()))?;
        let before = cluster.pods()?;
        let pod = before[0].name.clone();
        let data = Forward::open(kubectl, &pod, 8080)?;

        let long = "k".repeat(2048);
        for (target, status, told) in [
            ("/v1/groups/unicode/keys/U+1F980", 200, "CRAB"),
            ("/v1/groups/unicode/keys/", 400, "key"),
            (&format!("/v1/groups/unicode/keys/{long}"), 400, "1024"),
            ("/v1/groups/none/keys/a", 400, "unknown-group"),
            ("/v1/groups/unicode/keys/none", 404, ""),
        ] {
            let answer = http::send("GET", data.address, target)?;
            ensure!(
                answer.status == status,
                "GET {target:.60}: {} instead of {status}: {}",
                answer.status,
                answer.body
            );
            ensure!(answer.body.contains(told), "GET {target:.60}: {:?} does not say {told:?}", answer.body);
        }
        let address = data.address.to_string();
        for (group, key, told) in [
            ("unicode", "", "key"),
            ("unicode", long.as_str(), "1024"),
            ("none", "a", "none"),
            ("bad name", "a", "name"),
        ] {
            let said = grpc_get(&address, group, key)?;
            ensure!(!said.success, "get {group} {key:.20} was answered: {}", said.output);
            ensure!(
                said.errors.contains(told),
                "get {group} {key:.20}: {:?} does not say {told:?}",
                said.errors
            );
        }
        drop(data);

        for port in [8080, 8081, 9090] {
            for garbage in GARBAGE {
                // A tunnel of its own for each: kubectl gives one up when the other side resets the connection.
                let forward = Forward::open(kubectl, &pod, port)?;
                http::exchange_and_leave(forward.address, garbage)
                    .with_context(|| format!("garbage at port {port}"))?;
            }
        }
        let data = Forward::open(kubectl, &pod, 8080)?;
        let answer = http::send("GET", data.address, "/v1/groups/unicode/keys/U+1F980")?;
        ensure!(answer.body == "CRAB", "after the garbage: {answer:?}");
        let after = cluster.pods()?;
        ensure!(before == after, "pods changed: before {before:?}, after {after:?}");
        Ok(format!(
            "9 bad requests answered as promised, {} pieces of garbage at three ports, the node lives",
            3 * GARBAGE.len()
        ))
    });
}

fn grpc_get(address: &str, group: &str, key: &str) -> Result<program::Said> {
    let mut command = Command::new(settings::path("GROUPCACHECTL")?);
    program::run(command.args(["--address", address, "get", group, key]), None)
}
