//! The client against nodes that work, fail, hang and die: real connections over loopback.
#![expect(clippy::unwrap_used, reason = "in a helper of a test too it fails the test")]

mod groupcachectl;
mod secured;
mod stub;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use groupcache_client::client::{Client, Source};
use groupcache_client::config::Builder;
use groupcache_client::error::{ConnectError, GetError, RemoveError};
use groupcache_client::resolve::{Resolve, ResolveError};
use parking_lot::Mutex;
use stub::{Says, Stub};
use tonic::Code;

/// A name whose addresses the test changes.
#[derive(Clone, Default)]
struct Name(Arc<Mutex<Vec<SocketAddr>>>);

impl Name {
    fn of(stubs: &[&Stub]) -> Name {
        let name = Name::default();
        name.is(stubs);
        name
    }

    fn is(&self, stubs: &[&Stub]) {
        *self.0.lock() = stubs.iter().map(|stub| stub.address()).collect();
    }
}

impl Resolve for Name {
    fn resolve(&self) -> BoxFuture<'_, Result<Vec<SocketAddr>, ResolveError>> {
        let addresses = self.0.lock().clone();
        Box::pin(async move {
            if addresses.is_empty() { Err(ResolveError("no such name".to_owned())) } else { Ok(addresses) }
        })
    }
}

fn quick() -> Builder {
    Client::builder().resolve_every(Duration::from_millis(10)).deadline(Duration::from_secs(10))
}

async fn connected(name: &Name) -> Client {
    let client = quick().connect_resolved(name.clone()).await.unwrap();
    assert!(client.wait_for_all(Duration::from_secs(20)).await);
    assert_eq!(client.addresses().len(), name.0.lock().len());
    client
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("the condition never held");
}

#[tokio::test]
async fn gets_go_round_all_nodes_behind_a_name() {
    let stubs = [Says::Value; 3].map(Stub::start);
    let client = connected(&Name::of(&[&stubs[0], &stubs[1], &stubs[2]])).await;
    for _ in 0..30 {
        let value = client.get("unicode", "U+1F980").await.unwrap().unwrap();
        assert_eq!((value.source, value.ttl), (Source::Main, Some(Duration::from_millis(1_500))));
    }
    assert_eq!(stubs.each_ref().map(Stub::calls), [10, 10, 10]);
    assert_eq!(client.attempts().failed, 0);
}

#[tokio::test]
async fn a_node_that_is_unavailable_costs_a_retry_elsewhere_and_no_error() {
    let (bad, good) = (Stub::start(Says::Error(Code::Unavailable)), Stub::start(Says::Value));
    let client = connected(&Name::of(&[&bad, &good])).await;
    for _ in 0..200 {
        let value = client.get("unicode", "key").await.unwrap().unwrap();
        assert_eq!(value.bytes, good.address().to_string());
    }
    let attempts = client.attempts();
    assert!(bad.calls() > 0);
    assert_eq!((attempts.failed, attempts.retries), (bad.calls(), bad.calls()));
    assert_eq!(attempts.sent, 200 + attempts.retries);
}

/// Turned red by: taking CANCELLED for the node's word. Neither the caller nor the node has cancelled: the connection closed under the call.
#[tokio::test]
async fn a_call_that_a_closing_connection_cancels_costs_a_retry_elsewhere_and_no_error() {
    let (bad, good) = (Stub::start(Says::Error(Code::Cancelled)), Stub::start(Says::Value));
    let client = connected(&Name::of(&[&bad, &good])).await;
    for _ in 0..20 {
        let value = client.get("unicode", "key").await.unwrap().unwrap();
        assert_eq!(value.bytes, good.address().to_string());
    }
    assert!(bad.calls() > 0, "the bad node was never asked: the test shows nothing");
    assert_eq!(client.attempts().failed, bad.calls());
}

/// Turned red by: defaults with which a call waits longer for a machine that has vanished. No packet says that it has: it is a port whose connections nobody answers.
#[tokio::test]
async fn a_node_that_falls_silent_is_left_within_seconds_and_the_call_goes_elsewhere() {
    let (silent, good) = (TcpListener::bind("127.0.0.1:0").unwrap(), Stub::start(Says::Value));
    let name = Name::of(&[&good]);
    name.0.lock().push(silent.local_addr().unwrap());
    let client = connected(&name).await;
    let began = Instant::now();
    for _ in 0..2 {
        let value = client.get("unicode", "key").await.unwrap().unwrap();
        assert_eq!(value.bytes, good.address().to_string());
    }
    assert_eq!(client.attempts().failed, 1, "the silent one was never asked: the test shows nothing");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_retry_goes_to_another_node_not_to_another_connection() {
    let (bad, good) = (Stub::start(Says::Error(Code::Unavailable)), Stub::start(Says::Value));
    let client = quick().connections_per_node(3).connect_resolved(Name::of(&[&bad, &good])).await.unwrap();
    assert!(client.wait_for_all(Duration::from_secs(20)).await);
    for _ in 0..60 {
        client.get("unicode", "key").await.unwrap();
    }
    assert!(bad.calls() > 0, "the bad node was never asked: the test shows nothing");
}

#[tokio::test]
async fn a_call_is_retried_once_and_only_when_unavailable() {
    let stub = Stub::start(Says::Error(Code::Unavailable));
    let client = connected(&Name::of(&[&stub])).await;
    let error = client.get("unicode", "key").await.unwrap_err();
    assert_eq!(error, GetError::Unavailable("told to fail".to_owned()));
    assert_eq!(stub.calls(), 2);
    for (code, kind) in [
        (Code::FailedPrecondition, "unknown_group"),
        (Code::InvalidArgument, "invalid_argument"),
        (Code::ResourceExhausted, "overloaded"),
        (Code::Internal, "failed"),
    ] {
        stub.say(Says::Error(code));
        let before = stub.calls();
        assert_eq!(client.get("unicode", "key").await.unwrap_err().kind(), kind);
        assert_eq!(stub.calls(), before + 1, "{code:?}");
    }
}

#[tokio::test]
async fn what_the_loader_says_is_final_whatever_its_code() {
    let stub = Stub::start(Says::LoaderFailed);
    let client = connected(&Name::of(&[&stub])).await;
    let failed = GetError::Failed { code: Code::Unavailable, message: "loader names: it is down".to_owned() };
    assert_eq!(client.get("unicode", "key").await, Err(failed));
    assert_eq!(stub.calls(), 1);
}

#[tokio::test]
async fn no_such_key_is_an_answer() {
    let stub = Stub::start(Says::NotFound);
    let client = connected(&Name::of(&[&stub])).await;
    assert_eq!(client.get("unicode", "key").await, Ok(None));
    assert_eq!(client.answer("unicode", "key").await.unwrap().source, Source::Main);
    assert_eq!(stub.calls(), 2);
}

#[tokio::test]
async fn a_node_that_hangs_costs_the_deadline_and_no_more() {
    let stub = Stub::start(Says::Nothing);
    let client = quick().deadline(Duration::from_millis(200));
    let client = client.connect_resolved(Name::of(&[&stub])).await.unwrap();
    assert_eq!(client.get("unicode", "key").await, Err(GetError::DeadlineExceeded));
    assert_eq!(client.remove("unicode", "key").await, Err(RemoveError::Call(GetError::DeadlineExceeded)));
    assert_eq!(stub.calls(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_under_load_costs_no_call() {
    let mut stubs = [Says::Value; 3].map(Stub::start);
    let client = connected(&Name::of(&[&stubs[0], &stubs[1], &stubs[2]])).await;
    let done = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, done) = (client.clone(), done.clone());
            tokio::spawn(async move {
                for _ in 0..500 {
                    client.get("unicode", "key").await.unwrap();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    until(|| done.load(Ordering::Relaxed) > 500).await;
    stubs[1].kill();
    for caller in callers {
        caller.await.expect("a call failed");
    }
    until(|| client.addresses().len() == 2).await;
    assert_eq!(client.attempts().retries, client.attempts().failed);
    assert!(client.attempts().failed > 0, "the node died unnoticed: the test shows nothing");
}

#[tokio::test]
async fn a_new_address_is_used_and_a_gone_one_is_not() {
    let (old, new) = (Stub::start(Says::Value), Stub::start(Says::Value));
    let name = Name::of(&[&old]);
    let client = connected(&name).await;
    name.is(&[&old, &new]);
    until(|| client.addresses().len() == 2).await;
    name.is(&[&new]);
    until(|| client.addresses() == [new.address()]).await;
    let before = old.calls();
    for _ in 0..4 {
        client.get("unicode", "key").await.unwrap();
    }
    assert_eq!((old.calls(), new.calls()), (before, 4));

    // A resolver that fails takes nobody along.
    name.is(&[]);
    for _ in 0..4 {
        client.get("unicode", "key").await.unwrap();
    }
    assert_eq!(client.addresses(), [new.address()]);
}

#[tokio::test]
async fn many_keys_are_answered_one_by_one_and_removed_together() {
    let stub = Stub::start(Says::Value);
    let client = connected(&Name::of(&[&stub])).await;
    let results = client.get_many("unicode", vec!["a".into(), "bad".into(), "c".into()]).await.unwrap();
    assert!(results[0].as_ref().is_ok_and(Option::is_some) && results[2].is_ok());
    let failed = GetError::Failed { code: Code::Internal, message: "told".to_owned() };
    assert_eq!(results[1].as_ref().unwrap_err(), &failed);
    client.remove_many("unicode", vec!["a".into(), "b".into()]).await.unwrap();
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_named() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = Client::builder().deadline(Duration::from_millis(300)).connect(&address.to_string()).await;
    match client.unwrap_err() {
        ConnectError::NoNode(reason) => assert!(reason.contains(&address.to_string()), "{reason}"),
        other => panic!("{other}"),
    }
    assert!(matches!(Client::connect("redis://a:1").await, Err(ConnectError::Address(_))));
}
