//! Who is let in and who is not.

use std::sync::Arc;
use std::time::SystemTime;

use groupcache_tls::authority::{self, Authority};
use groupcache_tls::credentials::{Credentials, Fault, certificates};
use groupcache_tls::handshake::{Refused, accept};
use groupcache_tls::identity::{Identity, Role, server_name};
use groupcache_tls::keeper::Keeper;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncWriteExt, duplex};
use tokio_rustls::TlsConnector;

use crate::cluster::{DAY, authority as new_authority, credentials, issued, keeper, meet};

#[tokio::test]
async fn nodes_and_the_operator_of_one_cluster_meet_and_are_known_by_their_roles() {
    let ours = new_authority("ours");
    let node = keeper(&ours, "uid-1", Role::Node);
    for role in [Role::Node, Role::Operator] {
        let (seen, answered) = meet(&node, &keeper(&ours, "uid-1", role)).await;
        assert_eq!(seen.expect("a caller"), Identity::new("uid-1", role));
        assert!(answered);
    }
}

#[tokio::test]
async fn a_caller_whose_authority_is_not_ours_is_not_let_in() {
    let (ours, theirs) = (new_authority("ours"), new_authority("theirs"));
    let called = keeper(&ours, "uid-1", Role::Node);
    // It trusts ours, so that it is we who refuse.
    let caller = Keeper::new(credentials(&theirs, "uid-1", Role::Node, &[&theirs, &ours]));
    let (seen, answered) = meet(&called, &caller).await;
    assert!(matches!(seen, Err(Refused::Handshake(_))), "{seen:?}");
    assert!(!answered);
}

#[tokio::test]
async fn a_node_of_another_cluster_is_not_let_in_though_the_authority_is_the_same() {
    let shared = new_authority("shared");
    let called = keeper(&shared, "uid-1", Role::Node);
    let caller = keeper(&shared, "uid-2", Role::Node);
    let (_, answered) = meet(&called, &caller).await;
    assert!(!answered, "the caller asks for a node of its own cluster, and this is none");

    // One that asks for our name all the same shows the certificate of another cluster.
    let (near, far) = duplex(16 << 10);
    let posing = async {
        let name = server_name("uid-1").expect("a name");
        let _ = TlsConnector::from(posing_as_ours(&shared)).connect(name, near).await;
    };
    let (seen, ()) = tokio::join!(accept(&called, far), posing);
    let refused = seen.expect_err("a refusal");
    assert!(matches!(refused, Refused::OtherCluster { .. }), "{refused}");
}

/// Credentials of the cluster `uid-2`, without our own check of whom to ask for.
fn posing_as_ours(shared: &Authority) -> Arc<ClientConfig> {
    let issued = issued(shared, "uid-2", Role::Node);
    let mut roots = RootCertStore::empty();
    roots
        .add(certificates(shared.certificate_pem().as_bytes(), "ca.crt").expect("it works").remove(0))
        .expect("it works");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("it works")
        .with_root_certificates(roots)
        .with_client_auth_cert(
            certificates(issued.chain_pem.as_bytes(), "tls.crt").expect("it works"),
            PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("it works"),
        )
        .expect("it works");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

#[tokio::test]
async fn an_operator_can_serve_nobody() {
    let ours = new_authority("ours");
    let posing = keeper(&ours, "uid-1", Role::Operator);
    let (_, answered) = meet(&posing, &keeper(&ours, "uid-1", Role::Node)).await;
    assert!(!answered);
}

#[tokio::test]
async fn plain_text_is_refused() {
    let called = keeper(&new_authority("ours"), "uid-1", Role::Node);
    let (mut near, far) = duplex(16 << 10);
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("it works");
    let refused = accept(&called, far).await.expect_err("a refusal");
    assert!(matches!(refused, Refused::Handshake(_)), "{refused}");
}

#[tokio::test]
async fn while_the_authority_changes_everybody_meets_everybody() {
    let (old, new) = (new_authority("old"), new_authority("new"));
    let node = |by, trusted: &[_]| Keeper::new(credentials(by, "uid-1", Role::Node, trusted));
    // In this order: trust the new one too, show certificates of the new one, trust the old one no more.
    let steps =
        [node(&old, &[&old]), node(&old, &[&old, &new]), node(&new, &[&new, &old]), node(&new, &[&new])];
    for pair in steps.windows(2) {
        for (called, caller) in [(&pair[0], &pair[1]), (&pair[1], &pair[0])] {
            let (seen, answered) = meet(called, caller).await;
            assert!(answered, "{:?} calls {:?}: {seen:?}", caller.current(), called.current());
        }
    }
    let (_, answered) = meet(&steps[0], &steps[2]).await;
    assert!(!answered, "who skips a step is not trusted");
}

#[test]
fn credentials_that_nobody_would_take_are_refused_at_once() {
    let (ours, theirs) = (new_authority("ours"), new_authority("theirs"));
    let (one, other) = (issued(&ours, "uid-1", Role::Node), issued(&ours, "uid-1", Role::Node));
    let check = |chain: &str, key: &str, roots: &str| {
        Credentials::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes()).expect_err("a fault")
    };
    let roots = ours.certificate_pem();
    assert!(matches!(check("", &one.key_pem, roots), Fault::NoCertificate("tls.crt")));
    assert!(matches!(check(&one.chain_pem, "no key", roots), Fault::NoKey));
    assert!(matches!(check(&one.chain_pem, &one.key_pem, "none"), Fault::NoCertificate("ca.crt")));
    assert!(matches!(check(&one.chain_pem, &other.key_pem, roots), Fault::Rustls(_)), "another's key");
    let stranger = check(&one.chain_pem, &one.key_pem, theirs.certificate_pem());
    assert!(matches!(stranger, Fault::Rustls(_)), "nobody trusts it: {stranger}");
    assert!(matches!(check(roots, ours.key_pem(), roots), Fault::Nameless(_)), "an authority is nobody");

    let past = SystemTime::now() - 50 * DAY;
    let ended = ours.issue(&Identity::new("uid-1", Role::Node), past, DAY).expect("it works");
    assert!(matches!(check(&ended.chain_pem, &ended.key_pem, roots), Fault::Rustls(_)), "it has run out");
}

#[test]
fn an_authority_is_read_back_and_nothing_else_is_one() {
    let ours = new_authority("ours");
    let again = Authority::from_pem(ours.certificate_pem(), ours.key_pem()).expect("it works");
    assert_eq!((again.fingerprint(), again.not_after()), (ours.fingerprint(), ours.not_after()));
    assert_eq!(again.lifetime().as_secs() / DAY.as_secs(), 100, "{:?}", again.lifetime());
    let leaf = issued(&ours, "uid-1", Role::Node);
    let fault = |certificate: &str, key: &str| Authority::from_pem(certificate, key).expect_err("a fault");
    assert!(matches!(fault(&leaf.chain_pem, &leaf.key_pem), authority::Fault::NoAuthority));
    assert!(matches!(fault(ours.certificate_pem(), &leaf.key_pem), authority::Fault::OtherKey));
    assert!(matches!(fault("", ours.key_pem()), authority::Fault::Unreadable(_)));
    let late = ours.issue(&Identity::new("uid-1", Role::Node), SystemTime::now() + 200 * DAY, DAY);
    assert!(matches!(late, Err(authority::Fault::RunOut)));
}
