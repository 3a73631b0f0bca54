//! Stopping: not ready at once, serving on for the delay, then closing; in this process and as a real one.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_process::shutdown::{Ending, Shutdown};
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use groupcache_proto::cluster::DescribeRequest;
use groupcache_ring::{Member, Version};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::support::{
    Cluster, Source, apply, client, cluster_client, config, get, http, snapshot, text, users,
};

#[tokio::test]
async fn a_draining_node_serves_on_and_then_closes() {
    let source = Source::start().await;
    let shutdown = Shutdown::new();
    let config = Config { drain_delay: Duration::from_millis(300), ..config("a") };
    let node = Node::start(config, shutdown.clone(), None).await.unwrap();
    let members = vec![Member::active("a", node.cluster.to_string())];
    apply(&node, snapshot(Version::new(1, 1), members, users(source.address))).await;
    let (readiness, data) = (node.readiness().clone(), node.data);
    let (mut client, mut peer) = (client(&node).await, cluster_client(&node));
    let slow = tokio::spawn({
        let mut client = client.clone();
        async move { client.get(get("slow")).await }
    });
    source.begun.acquire().await.unwrap().forget();
    readiness.ready().await;

    let mut changes = readiness.follow();
    changes.next().await;
    let running = tokio::spawn(node.run());
    shutdown.drain();
    let missing = changes.next().await.unwrap();
    assert_eq!((missing[0].name, missing[0].reason.as_str()), ("accepting", "draining"));
    assert!(peer.describe(DescribeRequest {}).await.unwrap().into_inner().draining);
    // New connections and calls are still served.
    assert!(http(data, "GET", "/v1/groups/users/keys/k", "").await.starts_with("HTTP/1.1 200 "));
    assert_eq!(text(&client.get(get("k")).await.unwrap().into_inner()), "k");
    // Later the port closes, while the call under way is still waited for.
    while tokio::net::TcpStream::connect(data).await.is_ok() {
        tokio::task::yield_now().await;
    }
    source.go.add_permits(1);
    assert_eq!(text(&slow.await.unwrap().unwrap().into_inner()), "slow");
    assert_eq!(running.await.unwrap(), Ending::Clean);
    assert_eq!(client.get(get("k")).await.unwrap_err().code(), Code::Unavailable);
}

/// Turned red by: a port that closes without a word, or a connection that is cut while calls are on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_drains_under_load_costs_a_plain_client_no_call_that_is_retried_once() {
    let source = Source::start().await;
    let (shutdown, mut nodes) = (Shutdown::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let times = (Duration::from_millis(200), Duration::from_millis(300));
        let config = Config { drain_delay: times.0, drain_spread: times.1, ..config(name) };
        let shutdown = if name == "b" { shutdown.clone() } else { Shutdown::new() };
        nodes.push(Node::start(config, shutdown, None).await.unwrap());
    }
    let mut cluster = Cluster { nodes, configuration: users(source.address) };
    for node in &cluster.nodes {
        apply(node, cluster.snapshot(Version::new(1, 1))).await;
    }
    cluster.serve().await;
    let of = |node: &Node| Endpoint::from_shared(format!("http://{}", node.data)).unwrap();
    let clients: Vec<_> =
        cluster.nodes.iter().map(|node| CacheServiceClient::new(of(node).connect_lazy())).collect();
    let stop = tokio_util::sync::CancellationToken::new();
    let answered = Arc::new(AtomicUsize::new(0));
    let another_hundred = async || {
        let enough = answered.load(Ordering::Relaxed) + 100;
        while answered.load(Ordering::Relaxed) < enough {
            tokio::task::yield_now().await;
        }
    };
    let callers: Vec<_> = (0..16)
        .map(|caller| {
            let (mut clients, stop, answered) = (clients.clone(), stop.clone(), Arc::clone(&answered));
            tokio::spawn(async move {
                let (mut sent, mut failed) = (0usize, Vec::new());
                while !stop.is_cancelled() {
                    let request = get(format!("key-{caller}-{}", sent % 50));
                    let mut answer = clients[sent % 3].get(request.clone()).await;
                    // A call that met the end of its connection unsent is CANCELLED to this client, with a cause.
                    let again =
                        |status: &Status| status.code() == Code::Unavailable || status.source().is_some();
                    if answer.as_ref().is_err_and(again) {
                        answer = clients[(sent + 1) % 3].get(request).await;
                    }
                    failed.extend(answer.err());
                    sent += 1;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                (sent, failed)
            })
        })
        .collect();
    // Some load before, so that connections are in use.
    another_hundred().await;
    let leaving = cluster.nodes.remove(1);
    shutdown.drain();
    assert_eq!(leaving.run().await, Ending::Clean);
    // And some after it, so that callers meet the node that is gone.
    another_hundred().await;
    stop.cancel();
    let (mut sent, mut failed) = (0, Vec::new());
    for caller in callers {
        let (some, errors) = caller.await.unwrap();
        sent += some;
        failed.extend(errors);
    }
    assert!(failed.is_empty(), "{} of {sent} failed: {:?}", failed.len(), failed.first());
}

#[tokio::test]
async fn a_second_request_to_stop_cuts_what_is_under_way() {
    let source = Source::start().await;
    let shutdown = Shutdown::new();
    let node = Node::start(config("a"), shutdown.clone(), None).await.unwrap();
    let members = vec![Member::active("a", node.cluster.to_string())];
    apply(&node, snapshot(Version::new(1, 1), members, users(source.address))).await;
    let mut client = client(&node).await;
    let slow = tokio::spawn(async move { client.get(get("slow")).await });
    source.begun.acquire().await.unwrap().forget();
    let running = tokio::spawn(node.run());
    shutdown.abort();
    assert_eq!(running.await.unwrap(), Ending::Forced);
    assert!(slow.await.unwrap().is_err());
}

#[tokio::test]
async fn connections_end_at_their_age_and_a_client_that_asks_once_more_notices_nothing() {
    let source = Source::start().await;
    let config = Config { max_connection_age: Duration::from_millis(50), ..config("a") };
    let node = Node::start(config, Shutdown::new(), None).await.unwrap();
    let members = vec![Member::active("a", node.cluster.to_string())];
    apply(&node, snapshot(Version::new(1, 1), members, users(source.address))).await;
    let mut client = client(&node).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(400) {
        let answer = match client.get(get("k")).await {
            // The connection ended before the call was sent; this client leaves it to the caller to try again.
            Err(status) if std::error::Error::source(&status).is_some() => client.get(get("k")).await,
            answer => answer,
        };
        assert_eq!(text(&answer.unwrap().into_inner()), "k");
    }
    let metrics = http(node.admin, "GET", "/metrics", "").await;
    let line = metrics.lines().find(|line| line.starts_with("groupcache_connections_total{port=\"data\"}"));
    let opened: u64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    assert!(opened >= 4, "{opened} connections in eight times the age of one");
}

/// The binary itself, ended when dropped.
struct Process(std::process::Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_process_drains_on_sigterm_and_exits_with_zero() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.json");
    std::fs::write(&file, r#"{"groups": [], "loaders": []}"#).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_groupcache-node"))
        .args(["--name=a", "--members=a=127.0.0.1:1", "--drain-delay=100ms", "--log-format=json"])
        .args(["--data-address=127.0.0.1:0", "--cluster-address=127.0.0.1:0", "--admin-address=127.0.0.1:0"])
        .arg("--config")
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let mut child = Process(child);
    let pid = child.0.id().to_string();
    let mut said = Vec::new();
    for line in log.lines().map(Result::unwrap) {
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        said.push(event["message"].as_str().unwrap().to_owned());
        if said.last().unwrap() == "serving" {
            assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        }
    }
    assert_eq!(said.last().unwrap(), "stopped", "{said:?}");
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
}

#[test]
fn a_faulty_file_is_told_in_full_and_the_exit_code_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("groups.json");
    let group = r#"{"name": "g", "loader": "nobody", "maxBytes": "0"}"#;
    std::fs::write(&file, format!(r#"{{"groups": [{group}], "loaders": []}}"#)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_groupcache-node"))
        .args(["--name=a", "--members=a=127.0.0.1:1", "--log=error"])
        .args(["--data-address=127.0.0.1:0", "--cluster-address=127.0.0.1:0", "--admin-address=127.0.0.1:0"])
        .arg("--config")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("maxBytes is 0") && said.contains("\"nobody\""), "{said}");
}

#[tokio::test]
async fn what_the_binary_lists_is_what_it_exports() {
    let node = Node::start(config("a"), Shutdown::new(), None).await.unwrap();
    let members = vec![Member::active("a", node.cluster.to_string())];
    apply(&node, snapshot(Version::new(1, 1), members, users(node.data))).await;
    let exported = http(node.admin, "GET", "/metrics", "").await;
    for row in groupcache_node::metrics::table::METRICS {
        assert!(exported.contains(&format!("# TYPE {} ", row.name)), "{} is not exported", row.name);
        assert!(
            exported.contains(&format!("# HELP {} {}", row.name, row.help)),
            "{} has other help",
            row.name
        );
    }
}
