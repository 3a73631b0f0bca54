//! Nodes that fall silent, break off or go: they cost their peers milliseconds, and are asked again when they are back.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use groupcache_group::peer::{BeatRequest, PeerError, Peers};
use groupcache_node::node::Node;
use groupcache_node::transport::peers::Patience;
use groupcache_process::shutdown::{Ending, Shutdown};
use groupcache_ring::{Member, Version};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::proxy::Proxy;
use crate::streams::{at, fetch_of, fetched, one, patient, peers, purge_of};
use crate::support::{Source, apply, config, snapshot, users};

/// Turned red by: no breaker, or one that holds back beats.
#[tokio::test]
async fn a_frozen_node_costs_its_callers_once_and_the_next_ones_nothing() {
    // It takes connections and never says a word.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = Member::active("a", frozen.local_addr().unwrap().to_string());
    let peers = peers(Patience::default());
    let asked = Instant::now();
    for answer in join_all((0..64).map(|_| peers.fetch(&a, fetch_of("k")))).await {
        assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
    }
    let took = asked.elapsed();
    assert!(took >= Duration::from_millis(140) && took < Duration::from_millis(1500), "{took:?}");
    let asked = Instant::now();
    let answer = peers.fetch(&a, fetch_of("k")).await;
    assert!(matches!(&answer, Err(PeerError::Unreachable(why)) if why.contains("not asked")), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_millis(140), "{:?}", asked.elapsed());
    // A beat is sent, and waits.
    let deadline = Instant::now() + Duration::from_millis(50);
    let answer = peers.beat(&a, BeatRequest { version: Version::new(1, 1), deadline }).await;
    assert_eq!(answer.unwrap_err(), PeerError::DeadlineExceeded);
    assert!(Instant::now() >= deadline);
}

/// Turned red by: a breaker that only fetches close.
#[tokio::test]
async fn a_node_that_is_back_is_asked_as_soon_as_it_has_answered_anything() {
    let source = Source::start().await;
    let (_cluster, a) = one(&source).await;
    let proxy = Proxy::to(a.address.parse().unwrap()).await;
    let (peers, a) = (peers(Patience::default()), at(&a, proxy.address));
    proxy.hold_from(0);
    // Until it is not asked any more, and for so long that it will not be for seconds.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        let answers = join_all((0..5).map(|_| peers.fetch(&a, fetch_of("k")))).await;
        assert!(answers.iter().all(|answer| matches!(answer, Err(PeerError::Unreachable(_)))));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.release();
    // The connection may have been given up meanwhile: beats go on until one gets through.
    let beat =
        || BeatRequest { version: Version::new(1, 1), deadline: Instant::now() + Duration::from_secs(1) };
    while peers.beat(&a, beat()).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "k");
}

/// Turned red by: calls that wait out their patience on a stream that is gone, or a stream that is not opened again.
#[tokio::test]
async fn a_broken_connection_fails_its_calls_at_once_and_the_next_call_works() {
    let source = Source::start().await;
    let (_cluster, a) = one(&source).await;
    let proxy = Proxy::to(a.address.parse().unwrap()).await;
    let (peers, a) = (peers(patient()), at(&a, proxy.address));
    for round in 1..4 {
        let slow: Vec<_> = (0..8)
            .map(|_| {
                let (peers, a) = (Arc::clone(&peers), a.clone());
                tokio::spawn(async move { peers.fetch(&a, fetch_of(&format!("slow-{round}"))).await })
            })
            .collect();
        source.begun.acquire().await.unwrap().forget();
        let cut = Instant::now();
        proxy.cut();
        for answer in join_all(slow).await {
            let answer = answer.unwrap();
            assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
        }
        assert!(cut.elapsed() < patient().first / 2, "{:?}", cut.elapsed());
        // Eight failures in a row: the node is not asked until it says something, which a purge makes it do.
        peers.purge(&a, purge_of("k")).await.unwrap();
        assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "k");
        source.go.add_permits(1);
    }
    assert_eq!(proxy.taken(), 4);
}

/// Turned red by: a deadline that gives way to patience or to signs of life.
#[tokio::test]
async fn a_deadline_ends_a_fetch_that_shows_signs_of_life() {
    let source = Source::start().await;
    let (_cluster, a) = one(&source).await;
    let peers = peers(patient());
    let deadline = Instant::now() + Duration::from_millis(300);
    let answer = peers.fetch(&a, groupcache_group::peer::FetchRequest { deadline, ..fetch_of("slow") }).await;
    assert_eq!(answer.unwrap_err(), PeerError::DeadlineExceeded);
    let late = Instant::now().saturating_duration_since(deadline);
    // The owner's own word comes a little earlier than the deadline; 50 ms late is the promise, times ten.
    assert!(late < Duration::from_millis(500), "{late:?}");
    source.go.add_permits(1);
}

/// Turned red by: streams that nobody ends. The port would wait for half a minute.
#[tokio::test]
async fn a_node_that_stops_ends_its_streams_when_their_calls_are_answered() {
    let source = Source::start().await;
    let shutdown = Shutdown::new();
    let node = Node::start(config("a"), shutdown.clone(), None).await.unwrap();
    let a = Member::active("a", node.cluster.to_string());
    apply(&node, snapshot(Version::new(1, 1), vec![a.clone()], users(source.address))).await;
    let peers = peers(patient());
    assert_eq!(fetched(peers.fetch(&a, fetch_of("k")).await), "k");
    peers.purge(&a, purge_of("k")).await.unwrap();
    let slow = tokio::spawn({
        let (peers, a) = (Arc::clone(&peers), a.clone());
        async move { peers.fetch(&a, fetch_of("slow")).await }
    });
    source.begun.acquire().await.unwrap().forget();
    let running = tokio::spawn(node.run());
    shutdown.drain();
    while tokio::net::TcpStream::connect(&a.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    source.go.add_permits(1);
    assert_eq!(fetched(slow.await.unwrap()), "slow");
    let ending = timeout(Duration::from_secs(10), running).await.expect("its streams keep it");
    assert_eq!(ending.unwrap(), Ending::Clean);
    let answer = peers.fetch(&a, fetch_of("k")).await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
}
