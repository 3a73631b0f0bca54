//! The data port under TLS: every door, hostile beginnings, and certificates that change while calls run.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_process::shutdown::Shutdown;
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use groupcache_ring::Version;
use groupcache_tls::authority::Authority;
use groupcache_tls::identity::{Identity, Role, server_name};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};

use crate::support::{Cluster, Source, apply, config, get, http, raw, remove, text, users};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(50);

fn authority(name: &str) -> Authority {
    Authority::generate(name, SystemTime::now(), 30 * DAY).unwrap()
}

/// A certificate of that authority, as a Secret of the type `kubernetes.io/tls` has it.
fn write(folder: &Path, by: &Authority) {
    let issued = by.issue(&Identity::new("uid", Role::Node), SystemTime::now(), DAY).unwrap();
    fs::write(folder.join("tls.crt"), &issued.chain_pem).unwrap();
    fs::write(folder.join("tls.key"), &issued.key_pem).unwrap();
}

/// One node that serves `users`, its data port under a certificate of that authority.
async fn start(by: &Authority, source: &Source) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), by);
    let config = Config { data_tls_dir: Some(folder.path().to_owned()), ..config("a") };
    let node = Node::start(config, Shutdown::new(), None).await.unwrap();
    let cluster = Cluster { nodes: vec![node], configuration: users(source.address) };
    apply(&cluster.nodes[0], cluster.snapshot(Version::new(1, 1))).await;
    cluster.serve().await;
    (cluster, folder)
}

/// A connection of a client that trusts that authority, or why there is none.
async fn connect(node: &Node, trusted: &Authority, protocol: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let tcp = TcpStream::connect(node.data).await?;
    TlsConnector::from(Arc::new(config)).connect(server_name("uid").unwrap(), tcp).await
}

/// A gRPC client on one connection.
async fn client(node: &Node, trusted: &Authority) -> CacheServiceClient<Channel> {
    let stream = connect(node, trusted, b"h2").await.unwrap();
    let mut once = Some(TokioIo::new(stream));
    let dial = tower::service_fn(move |_: http::Uri| {
        std::future::ready(once.take().ok_or_else(|| std::io::Error::other("the connection is gone")))
    });
    let endpoint = Endpoint::from_static("http://over-tls");
    CacheServiceClient::new(endpoint.connect_with_connector(dial).await.unwrap())
}

/// Sends one HTTP/1.1 request and reads the answer to its end.
async fn exchange(mut stream: TlsStream<TcpStream>, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_door_is_served_over_tls_and_none_without() {
    let (source, ours) = (Source::start().await, authority("ours"));
    let (cluster, _folder) = start(&ours, &source).await;
    let node = &cluster.nodes[0];

    let mut grpc = client(node, &ours).await;
    assert_eq!(text(grpc.get(get("one")).await.unwrap().get_ref()), "one");
    // More than one record, and more than may wait.
    let large = "x".repeat(900_000);
    source.put("large", &large);
    assert_eq!(text(grpc.get(get("large")).await.unwrap().get_ref()).len(), large.len());
    for protocol in [&b"http/1.1"[..], b"h2"] {
        // Who negotiates one and speaks the other is understood all the same.
        let stream = connect(node, &ours, protocol).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        let request = "GET /v1/groups/users/keys/two HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert!(exchange(stream, request).await.ends_with("two"));
    }
    assert!(connect(node, &ours, b"redis").await.is_err());
    assert!(connect(node, &authority("theirs"), b"h2").await.is_err(), "a client that trusts somebody else");

    let plain = http(node.data, "GET", "/v1/groups/users/keys/two", "").await;
    assert!(!plain.contains("HTTP/1.1"), "{plain}");
    assert_eq!(raw(node.data, b"GET / HTTP/1.1\r\n\r\n").await.first(), Some(&0x15), "a TLS alert");
    let metrics = http(node.admin, "GET", "/metrics", "").await;
    assert!(metrics.contains("\ngroupcache_data_certificate_expiry_timestamp_seconds{} 1"), "{metrics}");
}

#[tokio::test]
async fn hostile_beginnings_cost_their_connection_and_nothing_else() {
    let (source, ours) = (Source::start().await, authority("ours"));
    let (cluster, _folder) = start(&ours, &source).await;
    let node = &cluster.nodes[0];
    let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    // The longest handshake message that can be announced, and never comes.
    let endless = [b"\x16\x03\x01\x40\x00\x01\xff\xff\xff".as_slice(), &[0; 16 << 10]].concat();
    for bytes in [
        &noise[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &endless,
        b"\x16\x03\x01",
        b"\x15\x03\x03\x00\x02\x01\x00",
    ] {
        let ended = tokio::time::timeout(Duration::from_secs(20), raw(node.data, bytes)).await;
        assert!(ended.is_ok(), "the connection was not closed");
    }
    let mut grpc = client(node, &ours).await;
    assert_eq!(text(grpc.get(get("after")).await.unwrap().get_ref()), "after");
}

/// Turned red by: a handshake outside the deadline of the first bytes.
#[tokio::test(start_paused = true)]
async fn half_a_handshake_and_a_whole_one_without_a_word_are_closed_in_time() {
    let ours = authority("ours");
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &ours);
    let config = Config { data_tls_dir: Some(folder.path().to_owned()), ..config("a") };
    let node = Node::start(config, Shutdown::new(), None).await.unwrap();
    for beginning in [&b""[..], b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let started = tokio::time::Instant::now();
        raw(node.data, beginning).await;
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(4) && took <= Duration::from_secs(6), "{took:?}");
    }
    let mut stream = connect(&node, &ours, b"h2").await.unwrap();
    let started = tokio::time::Instant::now();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(started.elapsed() <= Duration::from_secs(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_changes_under_load_and_no_call_fails() {
    let (source, old, new) = (Source::start().await, authority("old"), authority("new"));
    let (cluster, folder) = start(&old, &source).await;
    let node = &cluster.nodes[0];
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut grpc = client(node, &old).await;
    let caller = tokio::spawn({
        let (done, answered) = (Arc::clone(&done), Arc::clone(&answered));
        async move {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                grpc.get(get(format!("{round}"))).await.unwrap();
                grpc.remove(remove(&format!("{round}"))).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    // Half a change cannot be used: what is in force stays.
    fs::write(folder.path().join("tls.key"), "no key").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    drop(connect(node, &old, b"h2").await.unwrap());
    write(folder.path(), &new);
    while connect(node, &new, b"h2").await.is_err() {
        tokio::time::sleep(LOOK).await;
    }
    assert!(connect(node, &old, b"h2").await.is_err(), "new connections are shown the new one only");
    let before = answered.load(Ordering::Relaxed);
    while answered.load(Ordering::Relaxed) < before + 10 {
        tokio::time::sleep(LOOK).await;
    }
    done.store(true, Ordering::Relaxed);
    caller.await.unwrap();
}

#[tokio::test]
async fn a_node_does_not_start_with_a_certificate_it_cannot_use() {
    let (ours, folder) = (authority("ours"), tempfile::tempdir().unwrap());
    let start = async || {
        let config = Config { data_tls_dir: Some(folder.path().to_owned()), ..config("a") };
        format!("{:#}", Node::start(config, Shutdown::new(), None).await.unwrap_err())
    };
    let missing = start().await;
    assert!(missing.contains("--data-tls-dir") && missing.contains("tls.crt cannot be read"), "{missing}");
    write(folder.path(), &ours);
    let key = fs::read(folder.path().join("tls.key")).unwrap();
    write(folder.path(), &ours);
    fs::write(folder.path().join("tls.key"), key).unwrap();
    let other = start().await;
    assert!(other.contains("tls.crt and tls.key cannot be used together"), "{other}");
    let long_ago = SystemTime::now() - 10 * DAY;
    let issued = ours.issue(&Identity::new("uid", Role::Node), long_ago, DAY).unwrap();
    fs::write(folder.path().join("tls.crt"), &issued.chain_pem).unwrap();
    fs::write(folder.path().join("tls.key"), &issued.key_pem).unwrap();
    let over = start().await;
    assert!(over.contains("has run out"), "{over}");
}
