//! Several keys in one call: each owner is asked once, and no message grows with the number of keys.

use bytes::Bytes;
use groupcache_node::node::Node;
use groupcache_proto::cache::{
    GetManyRequest, StreamRequest, get_response, key_result, stream_request, stream_response,
};
use groupcache_proto::cluster::{FetchManyRequest, FetchManyResponse, fetch_response::Outcome};
use prost::Message;
use tonic::{Code, Status};

use crate::support::{Cluster, Source, client, cluster_client, http, users};

/// What a GetMany through `node` says of each key.
async fn get_many(node: &Node, keys: &[String]) -> Vec<String> {
    let keys = keys.iter().map(|key| Bytes::from(key.clone())).collect();
    let many = GetManyRequest { group: "users".into(), keys };
    let results = client(node).await.get_many(many).await.unwrap().into_inner().results;
    let said = |result| match result {
        Some(key_result::Result::Response(found)) => match found.outcome {
            Some(get_response::Outcome::Value(value)) => String::from_utf8_lossy(&value).into_owned(),
            other => format!("{other:?}"),
        },
        Some(key_result::Result::Failure(failure)) => format!("{:?}", Code::from(failure.code)),
        None => "nothing".into(),
    };
    results.into_iter().map(|result| said(result.result)).collect()
}

/// How often `node` has called others so.
async fn calls(node: &Node, call: &str) -> String {
    let start = format!("groupcache_peer_requests_total{{call=\"{call}\",code=\"ok\"}} ");
    let metrics = http(node.admin, "GET", "/metrics", "").await;
    metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().to_owned()
}

fn fetch_many(keys: &[&str], deadline_ms: u64) -> FetchManyRequest {
    let keys = keys.iter().map(|key| Bytes::from((*key).to_owned())).collect();
    FetchManyRequest { caller: None, group: "users".into(), keys, deadline_ms }
}

/// Every message of a FetchMany.
async fn messages(node: &Node, request: FetchManyRequest) -> Result<Vec<FetchManyResponse>, Status> {
    let mut stream = cluster_client(node).fetch_many(request).await?.into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await? {
        messages.push(message);
    }
    Ok(messages)
}

#[tokio::test]
async fn a_get_many_asks_each_owner_once() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    let keys: Vec<String> = (0..90).map(|n| format!("key-{n}")).collect();
    assert_eq!(get_many(&cluster.nodes[0], &keys).await, keys);
    assert_eq!(calls(&cluster.nodes[0], "fetch_many").await, "2");
    assert_eq!(calls(&cluster.nodes[0], "fetch").await, "0");
    assert!(keys.iter().all(|key| source.loads_of(key) == 1));
    let [asker, b, c] = [0, 1, 2].map(|at| cluster.nodes[at].groups().get("users").unwrap().stats());
    assert_eq!((asker.gets, asker.get_manys), (90, 1));
    assert_eq!((b.peer_gets, c.peer_gets), (b.loaded, c.loaded));
    assert_eq!(asker.loaded + b.loaded + c.loaded, 90);
    assert!(asker.loaded > 0 && b.loaded > 0 && c.loaded > 0);
    assert_eq!(get_many(&cluster.nodes[0], &keys).await, keys);
    assert_eq!(source.loads_of("key-0"), 1);
}

#[tokio::test]
async fn a_dead_nodes_keys_are_answered_by_their_second_owners() {
    let source = Source::start().await;
    let mut cluster = Cluster::start(3, users(source.address)).await;
    let ring = groupcache_ring::Ring::new(&cluster.members());
    let keys = (0..).map(|n| format!("key-{n}"));
    // Owned by c, with b as the second owner, so that a has to ask both.
    let keys: Vec<String> = keys.filter(|key| ring.ranked(key.as_bytes(), 2) == [2, 1]).take(20).collect();
    cluster.nodes.remove(2).kill().await;
    assert_eq!(get_many(&cluster.nodes[0], &keys).await, keys);
    let stats = cluster.nodes[0].groups().get("users").unwrap().stats();
    assert_eq!((stats.second_owner_fetches, stats.fetch_failures), (20, 20), "{stats:?}");
    assert_eq!(cluster.nodes[1].groups().get("users").unwrap().stats().loads, 20);
    assert_eq!(calls(&cluster.nodes[0], "fetch_many").await, "1");
}

#[tokio::test]
async fn large_values_leave_in_messages_of_a_mebibyte_and_stop_at_four() {
    let source = Source::start().await;
    let cluster = Cluster::start(2, users(source.address)).await;
    let keys: Vec<String> = (0..200).map(|n| format!("big-{n}")).collect();
    let ring = groupcache_ring::Ring::new(&cluster.members());
    let keys: Vec<&str> =
        keys.iter().map(String::as_str).filter(|k| ring.owner(k.as_bytes()) == Some(1)).take(12).collect();
    for key in &keys {
        source.put(key, &"x".repeat(500 << 10));
    }
    let said = messages(&cluster.nodes[1], fetch_many(&keys, 10_000)).await.unwrap();
    let said: Vec<_> = said.into_iter().filter(|message| !message.answers.is_empty()).collect();
    assert!(said.iter().all(|message| message.encoded_len() <= 1 << 20));
    let answers: Vec<usize> = said.iter().map(|message| message.answers.len()).collect();
    assert_eq!(answers, [2, 2, 2, 2], "four mebibytes are full");

    let keys: Vec<String> = keys.into_iter().map(String::from).collect();
    let said = get_many(&cluster.nodes[0], &keys).await;
    assert!(said[..7].iter().all(|value| value.len() == 500 << 10), "what fits an application's answer");
    assert_eq!(said[7..], ["ResourceExhausted"; 5]);
    let fetches = calls(&cluster.nodes[0], "fetch_many").await;
    assert_eq!(fetches, "1", "what the application cannot be told is not asked for");
}

#[tokio::test]
async fn an_owner_that_loads_several_keys_gives_signs_of_life() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let request = fetch_many(&["slow-1", "none", "fail", "fast"], 10_000);
    let mut stream = cluster_client(&cluster.nodes[0]).fetch_many(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(first.answers.is_empty() && first.version.is_some(), "{first:?}");
    source.go.add_permits(1);
    let answers = loop {
        let message = stream.message().await.unwrap().unwrap();
        if !message.answers.is_empty() {
            break message.answers;
        }
    };
    let kinds = answers.iter().map(|answer| match answer.outcome.as_ref().unwrap() {
        Outcome::Value(entry) => String::from_utf8_lossy(&entry.value).into_owned(),
        Outcome::NotFound(_) => "not found".into(),
        Outcome::LoaderError(error) => format!("{:?}", Code::from(error.code)),
        other => format!("{other:?}"),
    });
    assert_eq!(kinds.collect::<Vec<_>>(), ["slow-1", "not found", "DataLoss", "fast"]);
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_that_is_not_answered_in_time_ends_the_call_after_those_that_were() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let node = &cluster.nodes[0];
    // From this the node knows that the loader answers one key at a time; several in one call would be answered together.
    messages(node, fetch_many(&["x", "y"], 5_000)).await.unwrap();
    let said = messages(node, fetch_many(&["a", "b", "slow-1", "c"], 300)).await.unwrap();
    assert_eq!(said.iter().map(|message| message.answers.len()).sum::<usize>(), 2, "{said:?}");
    let status = messages(node, fetch_many(&["slow-2", "a"], 300)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn a_fetch_many_that_cannot_be_right_is_refused() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let node = &cluster.nodes[0];
    for keys in [vec![], vec!["k"; 1025], vec!["a", ""]] {
        let status = messages(node, fetch_many(&keys, 1_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
    let unknown = FetchManyRequest { group: "nobody".into(), ..fetch_many(&["a", "b"], 1_000) };
    let said = messages(node, unknown).await.unwrap();
    let answers: Vec<_> = said.into_iter().flat_map(|message| message.answers).collect();
    assert!(
        answers.len() == 2 && answers.iter().all(|a| matches!(a.outcome, Some(Outcome::UnknownGroup(_))))
    );
}

#[tokio::test]
async fn a_slow_key_costs_an_application_that_keys_deadline_and_no_more() {
    let source = Source::start().await;
    let cluster = Cluster::start(2, users(source.address)).await;
    let (mine, slow) = (cluster.key_of(0, "key"), cluster.key_of(1, "slow"));
    let keys = [&mine, &slow].map(|key| Bytes::from(key.clone())).to_vec();
    let many = GetManyRequest { group: "users".into(), keys };
    let call = StreamRequest { id: 1, deadline_ms: 400, call: Some(stream_request::Call::GetMany(many)) };
    let calls = tokio_stream::iter([call]);
    let mut answers = client(&cluster.nodes[0]).await.stream(calls).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().answer;
    let Some(stream_response::Answer::GetMany(many)) = answer else { panic!("{answer:?}") };
    assert!(matches!(many.results[0].result, Some(key_result::Result::Response(_))), "{many:?}");
    let Some(key_result::Result::Failure(failure)) = &many.results[1].result else { panic!("{many:?}") };
    assert_eq!(Code::from(failure.code), Code::DeadlineExceeded);
    source.go.add_permits(1);
    assert_eq!(get_many(&cluster.nodes[0], std::slice::from_ref(&slow)).await.concat(), slow);
    assert_eq!(source.loads_of(&slow), 1, "the load ran on and was kept");
}
