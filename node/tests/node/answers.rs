//! What every kind of input gets over gRPC: the rows of the table of limits.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use groupcache_proto::cache::cache_service_client::CacheServiceClient;
use groupcache_proto::cache::stream_request::Call;
use groupcache_proto::cache::stream_response::Answer;
use groupcache_proto::cache::{
    FillRequest, FlushRequest, GetManyRequest, GetRequest, StreamRequest, get_response, key_result,
};
use groupcache_proto::family;
use groupcache_proto::family::group_cache_client::GroupCacheClient;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::{Cluster, Source, channel, client, config, get, http, remove, set, start, text, users};

#[tokio::test]
async fn each_bad_input_gets_its_own_answer() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let mut client = client(&cluster.nodes[0]).await;
    let group = |group: &str| GetRequest { group: group.to_owned(), ..get("k") };
    for (request, code, said) in [
        (get(""), Code::InvalidArgument, "1 to 1024 bytes"),
        (get(vec![b'x'; 2048]), Code::InvalidArgument, "2048 bytes long"),
        (group("nope"), Code::FailedPrecondition, "no group \"nope\""),
        (group("no such/name"), Code::InvalidArgument, "[A-Za-z0-9._-]"),
        (group(""), Code::InvalidArgument, "[A-Za-z0-9._-]"),
        (get("fail"), Code::DataLoss, "loader source: the disk is gone"),
        // A failure must never read as "no such key".
        (get("absent-by-status"), Code::Unknown, "loader source: no row"),
    ] {
        let status = client.get(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(said), "{status:?}");
    }
    let unknown = client.get(group("nope")).await.unwrap_err();
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "UNKNOWN_GROUP");

    let absent = client.get(get("none")).await.unwrap().into_inner();
    assert!(matches!(absent.outcome, Some(get_response::Outcome::NotFound(_))), "{absent:?}");
    let found = client.get(group("old/users")).await.unwrap().into_inner();
    assert_eq!((text(&found).as_str(), found.source_version), ("k", Some(7)));
}

#[tokio::test]
async fn a_node_without_membership_says_so_to_everything() {
    let node = start(config("a")).await;
    let mut client = client(&node).await;
    for status in [
        client.get(get("k")).await.unwrap_err(),
        client.set(set("k", "v")).await.unwrap_err(),
        client.remove(remove("k")).await.unwrap_err(),
        client.flush(FlushRequest { group: "users".into() }).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_READY");
    }
    for (method, path) in [("GET", "/k"), ("DELETE", "/k"), ("DELETE", ""), ("PUT", "/k")]
        .map(|(m, p)| (m, format!("/v1/groups/users/keys{p}")))
    {
        let answer = http(node.data, method, &path, "content-length: 0\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("/not-ready"), "{method}: {answer}");
    }
    assert!(!node.readiness().is_ready());
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_others_are_not_slowed() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    // Not tonic's own channel, which would keep the deadline itself.
    let plain = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let origin = format!("http://{}", cluster.nodes[0].data).parse().unwrap();
    let mut client = CacheServiceClient::with_origin(plain, origin);
    let mut request = Request::new(get("slow"));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let started = Instant::now();
    let status = client.get(request).await.unwrap_err();
    let took = started.elapsed();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert!(took >= Duration::from_millis(190) && took < Duration::from_millis(700), "{took:?}");
    assert_eq!(text(&client.get(get("quick")).await.unwrap().into_inner()), "quick");
}

#[tokio::test]
async fn loads_over_the_bounds_are_refused_at_once() {
    let source = Source::start().await;
    let mut configuration = users(source.address);
    configuration.loaders[0].max_in_flight = 1;
    configuration.loaders[0].max_queued = 1;
    configuration.loaders[0].queue_timeout_ms = 5_000;
    let cluster = Cluster::start(1, configuration).await;
    let client = client(&cluster.nodes[0]).await;
    let ask = |key: &'static str| {
        let mut client = client.clone();
        tokio::spawn(async move { client.get(get(key)).await })
    };
    let first = ask("slow-1");
    source.begun.acquire().await.unwrap().forget();
    // Of these one waits in the queue, and the other finds it full; which, the network decides.
    let (second, third) = (ask("slow-2"), ask("slow-3"));
    let (refused, queued) = match futures::future::select(second, third).await {
        futures::future::Either::Left((refused, queued)) => (refused, queued),
        futures::future::Either::Right((refused, queued)) => (refused, queued),
    };
    let status = refused.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some(), "{status:?}");
    source.go.add_permits(2);
    assert!(first.await.unwrap().is_ok());
    assert!(queued.await.unwrap().is_ok());
}

#[tokio::test]
async fn many_keys_get_a_result_each() {
    let source = Source::start().await;
    let cluster = Cluster::start(3, users(source.address)).await;
    let mut client = client(&cluster.nodes[0]).await;
    let keys =
        vec![Bytes::from("x"), Bytes::from("none"), Bytes::new(), Bytes::from("fail"), Bytes::from("x")];
    let many = GetManyRequest { group: "users".into(), keys };
    let results = client.get_many(many).await.unwrap().into_inner().results;
    let said: Vec<String> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            key_result::Result::Response(found) if found.outcome.is_some() => match found.outcome.unwrap() {
                get_response::Outcome::Value(value) => String::from_utf8_lossy(&value).into_owned(),
                _ => "not found".into(),
            },
            key_result::Result::Failure(failure) => format!("{:?}", Code::from(failure.code)),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["x", "not found", "InvalidArgument", "DataLoss", "x"]);
    assert_eq!(source.loads_of("x"), 1);

    let too_many = GetManyRequest { group: "users".into(), keys: vec![Bytes::from("x"); 1025] };
    assert_eq!(client.get_many(too_many).await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_stream_carries_calls_and_survives_their_failures() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let mut client = client(&cluster.nodes[0]).await;
    let calls = vec![
        Call::Get(get("a")),
        Call::Get(get("fail")),
        Call::Remove(remove("a")),
        Call::Set(set("a", "set")),
        Call::Set(set("", "set")),
        Call::GetMany(GetManyRequest { group: "users".into(), keys: vec![Bytes::from("b")] }),
    ];
    let requests =
        calls.into_iter().zip(1..).map(|(call, id)| StreamRequest { id, deadline_ms: 0, call: Some(call) });
    let answers = client.stream(tokio_stream::iter(requests.collect::<Vec<_>>())).await.unwrap().into_inner();
    let mut answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    answers.sort_by_key(|answer| answer.id);
    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| match answer.answer.as_ref().unwrap() {
            Answer::Get(_) => "get",
            Answer::GetMany(_) => "get_many",
            Answer::Remove(_) => "remove",
            Answer::Set(_) => "set",
            Answer::Failure(_) => "failure",
            _ => "other",
        })
        .collect();
    assert_eq!(kinds, ["get", "failure", "remove", "set", "failure", "get_many"]);
}

#[tokio::test]
async fn what_is_not_served_yet_says_so() {
    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let mut client = client(&cluster.nodes[0]).await;
    let status = client.fill(FillRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains("is not served by this release"), "{status:?}");
}

#[tokio::test]
async fn the_familys_door_answers_as_the_family_expects() {
    let source = Source::start().await;
    let cluster = Cluster::start(2, users(source.address)).await;
    let mut client = GroupCacheClient::new(channel(cluster.nodes[0].data).await);
    let mut ask = async |group: &'static str, key: &'static [u8]| {
        client.get(family::GetRequest { group: Bytes::from(group), key: Bytes::from_static(key) }).await
    };
    let found = ask("users", b"\xFF\x00 not text").await.unwrap().into_inner();
    assert_eq!(found.value.as_deref(), Some(&b"\xFF\x00 not text"[..]));
    assert_eq!(ask("users", b"none").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(ask("nope", b"k").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(ask("users", b"").await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn health_follows_readiness_and_reflection_lists_the_services() {
    use tonic_health::pb::health_check_response::ServingStatus;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    use tonic_reflection::pb::{v1, v1alpha};

    let source = Source::start().await;
    let cluster = Cluster::start(1, users(source.address)).await;
    let node = &cluster.nodes[0];
    node.readiness().ready().await;
    let channel = channel(node.data).await;
    let mut health = HealthClient::new(channel.clone());
    let asked = HealthCheckRequest { service: "groupcache.v1.CacheService".into() };
    let mut watch = health.watch(asked).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut reflection = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let said = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(
        said.contains("groupcache.v1.CacheService") && said.contains("groupcachepb.GroupCache"),
        "{said}"
    );
    assert!(!said.contains("ClusterService"), "{said}");

    let list = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut reflection = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(format!("{:?}", answers.message().await.unwrap()).contains("groupcache.v1.CacheService"));
}
