//! Snapshots pushed over the cluster port, kept over a restart, and fetched from peers.

use groupcache_node::config::Config;
use groupcache_node::node::Node;
use groupcache_proto::cluster::{
    ApplyOutcome, ApplyRequest, Configuration, DescribeRequest, FetchRequest, MemberState,
};
use groupcache_proto::cluster::{Caller, FetchSnapshotRequest};
use groupcache_proto::convert;
use groupcache_ring::{Member, Version};
use prost::Message;
use tonic::Code;

use crate::support::{Cluster, Source, apply, cluster_client, config, metric, snapshot, start, users, value};

fn only(node: &Node) -> Vec<Member> {
    vec![Member::active(&*node.membership().me().name, node.cluster.to_string())]
}

/// Turned red by: an answer and a line of the log as large as the faults that somebody sends.
#[tokio::test]
async fn a_snapshot_of_nothing_but_faults_is_refused_in_few_words() {
    let node = start(config("a")).await;
    let mut wrong = snapshot(Version::new(1, 1), only(&node), Configuration::default());
    let twice = groupcache_proto::cluster::Member { name: "B A D".into(), ..Default::default() };
    wrong.members = vec![twice; 100_000];
    wrong.members[0].name = "x".repeat(1 << 20);
    let refused = apply(&node, wrong).await;
    assert_eq!(refused.outcome(), ApplyOutcome::Refused);
    assert!(refused.faults.last().unwrap().ends_with("more faults"), "{:?}", refused.faults.last());
    assert!(refused.encoded_len() < 64 << 10, "{} bytes", refused.encoded_len());
    assert!(node.membership().in_force().is_none());
}

#[tokio::test]
async fn newer_wins_and_every_refusal_says_why() {
    let node = start(config("a")).await;
    let of = |version| snapshot(version, only(&node), Configuration::default());
    let first = apply(&node, of(Version::new(1, 2))).await;
    assert_eq!(first.outcome(), ApplyOutcome::Adopted);
    assert_eq!(first.boot, node.membership().me().boot);
    node.readiness().ready().await;

    assert_eq!(apply(&node, of(Version::new(1, 1))).await.outcome(), ApplyOutcome::Older);
    assert_eq!(apply(&node, of(Version::new(1, 2))).await.outcome(), ApplyOutcome::Unchanged);
    assert_eq!(apply(&node, of(Version::new(2, 1))).await.outcome(), ApplyOutcome::Adopted);

    let mut other = of(Version::new(2, 1));
    other.members[0].zone = "elsewhere".into();
    let mut foreign = of(Version::new(9, 9));
    foreign.cluster_uid = "another".into();
    let mut faulty = of(Version::new(3, 1));
    faulty.members.push(faulty.members[0].clone());
    faulty.configuration = Some(Configuration {
        groups: vec![groupcache_proto::cluster::Group { name: "g".into(), ..Default::default() }],
        ..Default::default()
    });
    for (snapshot, said) in [
        (other, &["another content"][..]),
        (foreign, &["\"another\""]),
        (faulty, &["a stands twice", "maxBytes is 0", "names no loader"]),
    ] {
        let refused = apply(&node, snapshot).await;
        assert_eq!(refused.outcome(), ApplyOutcome::Refused);
        for said in said {
            assert!(refused.faults.iter().any(|fault| fault.contains(said)), "{said}: {:#?}", refused.faults);
        }
        assert_eq!(convert::version(refused.version.as_ref()), Version::new(2, 1));
    }
}

#[tokio::test]
async fn a_push_or_call_that_means_another_is_refused() {
    let node = start(Config { pod_uid: "uid-a".into(), ..config("a") }).await;
    let signed = convert::unsigned(&snapshot(Version::new(1, 1), only(&node), Configuration::default()));
    let mut client = cluster_client(&node);
    for (name, uid) in [("b", ""), ("a", "uid-of-the-pod-before")] {
        let request = ApplyRequest {
            snapshot: Some(signed.clone()),
            expected_node: name.into(),
            expected_pod_uid: uid.into(),
            ..ApplyRequest::default()
        };
        let refused = client.apply(request).await.unwrap().into_inner();
        assert_eq!(refused.outcome(), ApplyOutcome::Refused, "{refused:?}");
    }
    let boot = node.membership().me().boot;
    for (name, boot) in [("b", 0), ("a", boot ^ 1)] {
        let caller = Caller { expected_node: name.into(), expected_boot: boot, ..Default::default() };
        let request = FetchRequest { caller: Some(caller.clone()), ..Default::default() };
        assert_eq!(client.fetch(request).await.unwrap_err().code(), Code::FailedPrecondition);
        let request = FetchSnapshotRequest { caller: Some(caller) };
        assert_eq!(client.fetch_snapshot(request).await.unwrap_err().code(), Code::FailedPrecondition);
    }
}

/// Turned red by: a node that is never ready once its first grants are there, or before.
#[tokio::test]
async fn readiness_is_membership_and_the_first_grants_and_nothing_else() {
    let node = start(config("a")).await;
    let lacks = |name: &str| {
        let missing = node.readiness().missing().into_iter().find(|missing| missing.name == name);
        missing.map(|missing| missing.reason).unwrap_or_default()
    };
    assert_eq!(lacks("membership"), "no snapshot has been applied yet");
    let mut changes = node.readiness().follow();
    changes.next().await;
    let others = vec![Member::active("b", "127.0.0.1:1")];
    apply(&node, snapshot(Version::new(1, 1), others, Configuration::default())).await;
    changes.next().await.unwrap();
    assert_eq!(lacks("membership"), "snapshot 1.1 does not contain this node");
    // The loader does not exist: that is no reason not to be ready.
    let nowhere = users(([127, 0, 0, 1], 1).into());
    apply(&node, snapshot(Version::new(1, 2), only(&node), nowhere)).await;
    // A moment later it has grants, and everyone who asks is told so.
    let described = cluster_client(&node).describe(DescribeRequest {}).await.unwrap().into_inner();
    assert!(!described.serves_copies);
    assert_eq!(metric(&node, "groupcache_serving_copies{}").await, 0);
    assert!(!node.readiness().is_ready());
    node.readiness().ready().await;
    assert_eq!(metric(&node, "groupcache_serving_copies{}").await, 1);
    let described = cluster_client(&node).describe(DescribeRequest {}).await.unwrap().into_inner();
    assert_eq!((described.state(), described.serves_copies), (MemberState::Active, true));
    assert_eq!(described.groups[0].name, "users");
}

#[tokio::test]
async fn a_restarted_node_serves_from_the_snapshot_it_kept() {
    let source = Source::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = Config { snapshot_dir: Some(folder.path().to_owned()), ..config("a") };
    let node = start(config.clone()).await;
    let pushed = snapshot(Version::new(3, 4), only(&node), users(source.address));
    apply(&node, pushed).await;
    let kept = folder.path().join("snapshot.pb");
    while !kept.exists() {
        tokio::task::yield_now().await;
    }
    node.kill().await;

    let again = start(config.clone()).await;
    again.readiness().ready().await;
    assert_eq!(again.membership().version(), Version::new(3, 4));
    assert_eq!(value(&again, "k").await, "k");
    again.kill().await;

    std::fs::write(&kept, b"\xFF\xFF damaged").unwrap();
    let empty = start(config).await;
    assert_eq!(empty.membership().version(), Version::PROVISIONAL);
    assert!(!empty.readiness().is_ready());
}

#[tokio::test]
async fn a_new_node_serves_from_the_ledger_although_nobody_pushes() {
    let source = Source::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("snapshot");
    let config = Config { ledger: Some(ledger.clone()), ..config("a") };
    let empty = start(config.clone()).await;
    assert!(!empty.readiness().is_ready(), "there is no ledger yet");
    let written = snapshot(Version::new(3, 4), only(&empty), users(source.address));
    std::fs::write(&ledger, convert::unsigned(&written).encode_to_vec()).unwrap();
    empty.kill().await;

    let node = start(config).await;

    node.readiness().ready().await;
    assert_eq!(node.membership().version(), Version::new(3, 4));
    assert_eq!(value(&node, "k").await, "k");
}

#[tokio::test]
async fn whoever_is_behind_fetches_the_newer_snapshot_from_a_peer() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    let [a, b, c] = &cluster.nodes[..] else { panic!("three nodes") };
    let mut newer = cluster.snapshot(Version::new(1, 2));
    newer.configuration.as_mut().unwrap().groups[0].ttl_ms = 60_000;
    apply(a, newer).await;
    // The caller is ahead: b hears of it by a's fetch.
    value(a, &cluster.key_of(1, "key")).await;
    let mut in_force = b.membership().subscribe();
    in_force
        .wait_for(|now| now.as_ref().is_some_and(|now| now.view.version() == Version::new(1, 2)))
        .await
        .unwrap();
    // The answer is ahead: c hears of it by b's answer.
    value(c, &cluster.key_of(1, "other")).await;
    let mut in_force = c.membership().subscribe();
    in_force
        .wait_for(|now| now.as_ref().is_some_and(|now| now.view.version() == Version::new(1, 2)))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_node_that_is_behind_catches_up_before_it_says_unknown_group() {
    let source = Source::start().await;
    let cluster = Cluster::start(2, users(source.address)).await;
    let mut newer = cluster.snapshot(Version::new(1, 2));
    let groups = &mut newer.configuration.as_mut().unwrap().groups;
    let mut fresh = groups[0].clone();
    fresh.name = "fresh".into();
    fresh.aliases.clear();
    groups.push(fresh);
    apply(&cluster.nodes[0], newer).await;
    let key = cluster.key_of(1, "key");
    let mut client = crate::support::client(&cluster.nodes[0]).await;
    let request = groupcache_proto::cache::GetRequest { group: "fresh".into(), ..crate::support::get(key) };
    let answer = client.get(request).await.unwrap().into_inner();
    assert_eq!(answer.source(), groupcache_proto::cache::Source::Peer);
}
