//! The admin port over real sockets.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::process_metrics::ProcessMetrics;

struct Served {
    address: std::net::SocketAddr,
    readiness: Readiness,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

async fn serve() -> Served {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessMetrics));
    let readiness = Readiness::new();
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let admin = Admin::new(Arc::new(registry), readiness.clone());
    let task = tokio::spawn(admin.serve(listener, stop.clone()));
    Served { address, readiness, stop, task }
}

async fn say(address: std::net::SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn fetch(address: std::net::SocketAddr, path: &str) -> String {
    say(address, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let served = serve().await;
    let condition = served.readiness.condition("snapshot", "none applied yet");
    let answer = fetch(served.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("snapshot: none applied yet"), "{answer}");
    condition.met();
    let answer = fetch(served.address, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(fetch(served.address, "/healthz").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn metrics_speak_the_format_asked_for() {
    let served = serve().await;
    let answer = fetch(served.address, "/metrics").await;
    assert!(answer.contains("# TYPE process_cpu_seconds_total counter"), "{answer}");
    let asked = "GET /metrics HTTP/1.1\r\nhost: x\r\naccept: application/openmetrics-text\r\nconnection: close\r\n\r\n";
    let answer = say(served.address, asked).await;
    assert!(answer.ends_with("# EOF\n") && answer.contains("# TYPE process_cpu_seconds counter"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn garbage_and_silence_cost_one_connection_each() {
    let served = serve().await;
    let started = tokio::time::Instant::now();
    assert_eq!(say(served.address, "").await, "");
    assert_eq!(started.elapsed().as_secs(), HEADER_TIMEOUT.as_secs());
    say(served.address, "\x16\x03\x01 not http at all\r\n\r\n").await;
    assert!(fetch(served.address, "/healthz").await.starts_with("HTTP/1.1 200"));
    served.stop.cancel();
    served.task.await.expect("it ends when stopped");
}

#[test]
fn only_this_machine_changes_what_is_logged() {
    let local = |address: &str| Caller(address.parse().expect("an address")).is_local();
    assert!(local("127.0.0.1:1") && local("[::1]:1") && local("[::ffff:127.0.0.1]:1"));
    assert!(!local("10.0.0.1:1") && !local("[2001:db8::1]:1") && !local("[::ffff:10.0.0.1]:1"));
}
