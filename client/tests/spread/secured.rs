//! Nodes that speak TLS and ask for tokens: real handshakes in front of stubs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use groupcache_client::client::Client;
use groupcache_client::error::{ConnectError, GetError};
use groupcache_client::tls::{Tls, TlsError};
use groupcache_client::token::Token;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::Code;

use crate::stub::{Says, Stub};

const NAME: &str = "cache.test";

/// An authority's certificate, and a server's configuration with one that it has issued.
fn issued() -> (String, Arc<ServerConfig>) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    (authority.pem(), Arc::new(config))
}

/// Takes TLS off in front of a stub.
async fn in_front_of(stub: &Stub, config: Arc<ServerConfig>) -> SocketAddr {
    let (listener, behind) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), stub.address());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(config.clone());
            tokio::spawn(async move {
                let Ok(mut near) = acceptor.accept(tcp).await else { return };
                let mut far = TcpStream::connect(behind).await.unwrap();
                // It ends when either side does.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_trusted_node_of_that_name_is_called_with_the_token_and_nobody_else_is() {
    let stub = Stub::start(Says::Value);
    let (authority, config) = issued();
    let address = in_front_of(&stub, config).await.to_string();
    let ours = || Tls::authorities(authority.as_bytes()).unwrap();
    let builder = || Client::builder().deadline(Duration::from_secs(5)).token(Token::new("secret").unwrap());

    let client = builder().tls(ours().server_name(NAME).unwrap()).connect(&address).await.unwrap();
    client.get("unicode", "U+1F980").await.unwrap();
    assert_eq!(stub.authorization().as_deref(), Some("Bearer secret"));
    stub.say(Says::Error(Code::Unauthenticated));
    assert_eq!(client.get("unicode", "a").await, Err(GetError::NotAllowed("told to fail".into())));

    let (others, _) = issued();
    let theirs = Tls::authorities(others.as_bytes()).unwrap().server_name(NAME).unwrap();
    // Without a name it is the address's host, which the certificate is not for.
    for (tls, told) in [(theirs, "invalid peer certificate"), (ours(), "not valid for name")] {
        let refused = builder().deadline(Duration::from_secs(1)).tls(tls).connect(&address).await;
        let Err(ConnectError::NoNode(said)) = refused else { panic!("it connected") };
        assert!(said.contains(told), "{said}");
    }
}

#[tokio::test]
async fn what_cannot_be_trusted_is_told_before_anything_is_called() {
    assert!(matches!(Tls::authorities(b"no PEM"), Err(TlsError::Authorities(_))));
    assert!(matches!(
        Tls::authorities(issued().0.as_bytes()).unwrap().server_name("no name"),
        Err(TlsError::Name(_))
    ));
    let tls = Tls::authorities(issued().0.as_bytes()).unwrap();
    let several = Client::builder().tls(tls).connect("a:1,b:1").await.unwrap_err();
    assert!(several.to_string().contains("say which name"), "{several}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groupcachectl_takes_authority_name_and_token_from_files() {
    let stub = Stub::start(Says::Value);
    let (authority, config) = issued();
    let address = in_front_of(&stub, config).await.to_string();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = std::env::temp_dir().join(format!("groupcachectl-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    };
    let (ca, token) = (file("ca.pem", &authority), file("token", "from-a-file\n"));
    let run = async |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_groupcachectl"));
        command.args(["--address", &address, "--deadline", "5s", "get", "unicode", "a"]).args(args);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let (ca, token) = (ca.to_str().unwrap(), token.to_str().unwrap());
    let right = run(&["--ca-file", ca, "--server-name", NAME, "--token-file", token]).await;
    assert_eq!(right.status.code(), Some(0), "{right:?}");
    assert_eq!(stub.authorization().as_deref(), Some("Bearer from-a-file"));
    let missing = run(&["--token-file", "/nowhere"]).await;
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(missing.status.code() == Some(1) && said.contains("/nowhere cannot be read"), "{said}");
    let plain = run(&[]).await;
    assert_eq!(plain.status.code(), Some(1), "a port that speaks TLS only");
    for file in [ca, token] {
        std::fs::remove_file(file).unwrap();
    }
}
