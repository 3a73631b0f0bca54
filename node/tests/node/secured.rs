//! The cluster port under certificates: who is let in, what each role may call, and authorities that change under load.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_process::shutdown::Shutdown;
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{ApplyRequest, ApplyResponse, DescribeRequest, PeekRequest};
use groupcache_proto::convert;
use groupcache_ring::Version;
use groupcache_tls::authority::{Authority, Issued};
use groupcache_tls::credentials::Credentials;
use groupcache_tls::handshake::connect;
use groupcache_tls::identity::{Identity, Role};
use groupcache_tls::keeper::Keeper;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::support::{Cluster, Source, client, cluster_client, config, get, raw, remove, users, value};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Between looks at what is waited for.
const LOOK: Duration = Duration::from_millis(20);

fn authority(name: &str) -> Authority {
    Authority::generate(name, SystemTime::now(), 30 * DAY).unwrap()
}

fn issued(by: &Authority, role: Role) -> Issued {
    by.issue(&Identity::new("uid", role), SystemTime::now(), DAY).unwrap()
}

fn bundle(trusted: &[&Authority]) -> String {
    trusted.iter().map(|authority| authority.certificate_pem()).collect()
}

fn write(folder: &Path, issued: &Issued, trusted: &[&Authority]) {
    fs::write(folder.join("tls.crt"), &issued.chain_pem).unwrap();
    fs::write(folder.join("tls.key"), &issued.key_pem).unwrap();
    fs::write(folder.join("ca.crt"), bundle(trusted)).unwrap();
}

fn keeper(by: &Authority, role: Role, trusted: &[&Authority]) -> Keeper {
    let issued = issued(by, role);
    let (chain, key, roots) = (issued.chain_pem, issued.key_pem, bundle(trusted));
    Keeper::new(Credentials::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).unwrap())
}

/// Calls a node's cluster port with a certificate.
fn secured(node: &Node, keeper: &Keeper) -> ClusterServiceClient<Channel> {
    let (keeper, address) = (keeper.clone(), node.cluster);
    let dial = move |_: http::Uri| {
        let keeper = keeper.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            connect(&keeper, tcp).await.map(TokioIo::new).map_err(std::io::Error::other)
        }
    };
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    ClusterServiceClient::new(endpoint.connect_with_connector_lazy(tower::service_fn(dial)))
}

/// The call did not get as far as the node's own word: the transport failed.
fn not_let_in(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Three nodes with certificates of one authority, each in a folder of its own.
struct Secured {
    cluster: Cluster,
    folders: Vec<TempDir>,
    operator: Keeper,
    signer: Authority,
}

impl Secured {
    async fn start(source: &Source, by: &Authority) -> Self {
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for name in ["a", "b", "c"] {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &issued(by, Role::Node), &[by]);
            let config = Config { tls_dir: Some(folder.path().to_owned()), ..config(name) };
            nodes.push(Node::start(config, Shutdown::new(), None).await.unwrap());
            folders.push(folder);
        }
        let cluster = Cluster { nodes, configuration: users(source.address) };
        let operator = keeper(by, Role::Operator, &[by]);
        let secured = Secured { cluster, folders, operator, signer: by.clone() };
        for node in &secured.cluster.nodes {
            assert_eq!(secured.push(node).await.faults, Vec::<String>::new());
        }
        secured.cluster.serve().await;
        secured
    }

    async fn push(&self, node: &Node) -> ApplyResponse {
        secured(node, &self.operator).apply(self.request()).await.unwrap().into_inner()
    }

    fn request(&self) -> ApplyRequest {
        self.told(Version::new(1, 1), Some(&self.signer))
    }

    fn told(&self, version: Version, signer: Option<&Authority>) -> ApplyRequest {
        let mut signed = convert::unsigned(&self.cluster.snapshot(version));
        if let Some(signer) = signer {
            signed.signature = signer.sign(&signed.snapshot).unwrap().into();
            signed.key_id = signer.fingerprint();
        }
        ApplyRequest { snapshot: Some(signed), ..Default::default() }
    }

    /// New files for every node, and waits until each shows that it uses them.
    async fn change(&self, by: &Authority, trusted: &[&Authority]) {
        let issued = issued(by, Role::Node);
        let mut before = Vec::new();
        for (node, folder) in self.cluster.nodes.iter().zip(&self.folders) {
            before.push(self.push(node).await.certificate);
            write(folder.path(), &issued, trusted);
        }
        for (node, before) in self.cluster.nodes.iter().zip(before) {
            while self.push(node).await.certificate == before {
                tokio::time::sleep(LOOK).await;
            }
        }
    }
}

/// Turned red by: a node that believes whoever may push.
#[tokio::test]
async fn a_membership_that_no_trusted_authority_signed_is_refused() {
    let source = Source::start().await;
    let (ours, other) = (authority("ours"), authority("other"));
    let secured = Secured::start(&source, &ours).await;
    let node = &secured.cluster.nodes[0];
    let newer = Version::new(1, 2);
    for (signer, told) in [(None, "it is not signed"), (Some(&other), "none of the authorities")] {
        let mut client = self::secured(node, &secured.operator);
        let answer = client.apply(secured.told(newer, signer)).await.unwrap().into_inner();
        assert!(answer.faults.len() == 1 && answer.faults[0].contains(told), "{:?}", answer.faults);
        assert_eq!(convert::version(answer.version.as_ref()), Version::new(1, 1));
    }
    let mut client = self::secured(node, &secured.operator);
    let answer = client.apply(secured.told(newer, Some(&ours))).await.unwrap().into_inner();
    assert_eq!((answer.faults.len(), convert::version(answer.version.as_ref())), (0, newer));
}

#[tokio::test]
async fn nodes_with_certificates_fetch_remove_and_grant_as_without() {
    let source = Source::start().await;
    let secured = Secured::start(&source, &authority("ours")).await;
    for round in 0..10 {
        let key = format!("key-{}", round % 3);
        source.put(&key, &format!("value-{round}"));
        client(&secured.cluster.nodes[round % 3]).await.remove(remove(&key)).await.unwrap();
        for node in &secured.cluster.nodes {
            assert_eq!(value(node, &key).await, format!("value-{round}"));
        }
    }
}

#[tokio::test]
async fn who_shows_no_certificate_of_this_cluster_is_not_let_in() {
    let (source, ours) = (Source::start().await, authority("ours"));
    let secured_cluster = Secured::start(&source, &ours).await;
    let node = &secured_cluster.cluster.nodes[0];

    let plain = cluster_client(node).apply(secured_cluster.request()).await.unwrap_err();
    assert!(not_let_in(&plain), "{plain:?}");
    assert_eq!(raw(node.cluster, b"GET / HTTP/1.1\r\n\r\n").await.first(), Some(&0x15), "a TLS alert");

    let strange = authority("theirs");
    let theirs = keeper(&strange, Role::Operator, &[&strange, &ours]);
    let stranger = secured(node, &theirs).apply(secured_cluster.request()).await.unwrap_err();
    assert!(not_let_in(&stranger), "{stranger:?}");
}

/// Turned red by: leaving the check of roles out of the cluster port's door.
#[tokio::test]
async fn a_node_pushes_no_membership_and_the_operator_reads_no_value() {
    let (source, ours) = (Source::start().await, authority("ours"));
    let secured_cluster = Secured::start(&source, &ours).await;
    let node = &secured_cluster.cluster.nodes[0];
    let peer = keeper(&ours, Role::Node, &[&ours]);

    let pushed = secured(node, &peer).apply(secured_cluster.request()).await.unwrap_err();
    assert_eq!(pushed.code(), Code::PermissionDenied, "{pushed}");
    assert!(pushed.message().contains("certificate says node"), "{pushed}");
    let peek = || PeekRequest { group: "users".into(), key: "k".into(), ..Default::default() };
    let peeked = secured(node, &secured_cluster.operator).peek(peek()).await.unwrap_err();
    assert_eq!(peeked.code(), Code::PermissionDenied, "{peeked}");

    secured(node, &peer).peek(peek()).await.unwrap();
    for who in [&peer, &secured_cluster.operator] {
        secured(node, who).describe(DescribeRequest {}).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_changes_under_load_and_no_call_fails() {
    let (source, old, new) = (Source::start().await, authority("old"), authority("new"));
    let mut secured = Secured::start(&source, &old).await;
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut callers = Vec::new();
    for (n, node) in secured.cluster.nodes.iter().enumerate() {
        let (mut client, done, answered) = (client(node).await, Arc::clone(&done), Arc::clone(&answered));
        callers.push(tokio::spawn(async move {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                // A new key each time, so that two of three go to another node.
                client.get(get(format!("{n}-{round}"))).await.unwrap();
                client.remove(remove(&format!("{n}-{round}"))).await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    secured.change(&old, &[&old, &new]).await;
    secured.operator = keeper(&new, Role::Operator, &[&old, &new]);
    secured.change(&new, &[&new, &old]).await;
    secured.operator = keeper(&new, Role::Operator, &[&new]);
    secured.change(&new, &[&new]).await;
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert!(answered.load(Ordering::Relaxed) > 0);
    // Nobody is left who takes the old one.
    let late = keeper(&old, Role::Operator, &[&old, &new]);
    let refused = self::secured(&secured.cluster.nodes[0], &late).apply(secured.request()).await;
    assert!(not_let_in(&refused.unwrap_err()));
}

#[tokio::test]
async fn a_node_does_not_start_with_certificates_it_cannot_use() {
    let ours = authority("ours");
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        Node::start(Config { tls_dir: Some(folder.path().to_owned()), ..config("a") }, Shutdown::new(), None)
    };
    let missing = format!("{:#}", start().await.unwrap_err());
    assert!(missing.contains("--tls-dir") && missing.contains("tls.crt cannot be read"), "{missing}");
    write(folder.path(), &issued(&ours, Role::Operator), &[&ours]);
    let role = start().await.unwrap_err().to_string();
    assert!(role.contains("is for the operator, not for a node"), "{role}");
}
