//! Guarded loaders against real services: many keys in one call, answers too large, and sources that stall.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use groupcache_group::loader::{LoadError, LoadManyRequest, LoadRequest, Loaded, Loader};
use groupcache_group::value::{Key, Outcome};
use groupcache_node::configuration::{BreakerSettings, LoaderKind, LoaderSettings};
use groupcache_node::loader::Loaders;
use groupcache_node::loader::room::Room;
use groupcache_node::loader::template::UrlTemplate;
use groupcache_node::metrics::LoadMetrics;
use groupcache_proto::loader::load_response::Outcome as Told;
use groupcache_proto::loader::load_result::Result as One;
use groupcache_proto::loader::loader_service_server::{LoaderService, LoaderServiceServer};
use groupcache_proto::loader::{self, LoadManyResponse, LoadResponse, LoadResult};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status};
use tower::util::MapRequestLayer;

const MIB: usize = 1 << 20;

/// A source whose groups say what it does: `single` has no LoadMany, `short` answers one result too few. A key that is a number has so many bytes.
#[derive(Clone, Default)]
struct Source {
    calls: Arc<Mutex<Vec<String>>>,
    /// Whom each call was for.
    named: Arc<Mutex<Vec<String>>>,
}

impl Source {
    async fn start(&self) -> LoaderKind {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let service = LoaderServiceServer::new(self.clone()).max_encoding_message_size(usize::MAX);
        let named = Arc::clone(&self.named);
        let look = MapRequestLayer::new(move |request: http::Request<tonic::body::Body>| {
            named.lock().extend(request.uri().authority().map(ToString::to_string));
            request
        });
        let server = tonic::transport::Server::builder().layer(look).add_service(service);
        let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        tokio::spawn(server.serve_with_incoming(incoming));
        LoaderKind::Grpc { target, authority: None }
    }

    fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock())
    }
}

fn row(key: &Bytes) -> LoadResponse {
    let outcome = match &key[..] {
        b"none" => Told::NotFound(loader::NotFound {}),
        _ => match std::str::from_utf8(key).unwrap().parse() {
            Ok(len) => Told::Value(vec![b'x'; len].into()),
            Err(_) => Told::Value(key.clone()),
        },
    };
    LoadResponse { outcome: Some(outcome), ttl_ms: Some(5), version: Some(7) }
}

#[tonic::async_trait]
impl LoaderService for Source {
    async fn load(&self, request: Request<loader::LoadRequest>) -> Result<Response<LoadResponse>, Status> {
        let timeout = request.metadata().get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
        let key = request.into_inner().key;
        self.calls.lock().push(format!("Load {} within {timeout}", key.escape_ascii()));
        Ok(Response::new(row(&key)))
    }

    async fn load_many(
        &self,
        request: Request<loader::LoadManyRequest>,
    ) -> Result<Response<LoadManyResponse>, Status> {
        let loader::LoadManyRequest { group, keys } = request.into_inner();
        self.calls.lock().push(format!("LoadMany {}", keys.len()));
        if group == "single" {
            return Err(Status::unimplemented("Load is enough"));
        }
        let failure = |code, message: &str| One::Failure(loader::Failure { code, message: message.into() });
        let result = |key: &Bytes| match &key[..] {
            b"fail" => Some(failure(15, "the disk is gone")),
            b"absent" => Some(failure(5, &"no row ".repeat(1_000))),
            b"nothing" => None,
            _ => Some(One::Response(row(key))),
        };
        let mut results: Vec<_> = keys.iter().map(|key| LoadResult { result: result(key) }).collect();
        if group == "short" {
            results.pop();
        }
        Ok(Response::new(LoadManyResponse { results }))
    }
}

fn settings(kind: LoaderKind) -> LoaderSettings {
    let breaker = BreakerSettings {
        failure_percent: 50,
        window: Duration::from_secs(10),
        open: Duration::from_secs(5),
    };
    LoaderSettings {
        name: "source".into(),
        kind,
        timeout: Duration::from_secs(20),
        max_in_flight: 64,
        max_queued: 64,
        queue_timeout: Duration::from_secs(20),
        max_attempts: 1,
        breaker,
    }
}

/// The loader of each group, all of them with this room.
fn loaders(room: &Room, groups: &[(&str, &LoaderKind)]) -> Vec<Arc<dyn Loader>> {
    let wanted: Vec<_> =
        groups.iter().map(|(group, kind)| (Arc::from(*group), MIB, settings((*kind).clone()))).collect();
    Loaders::new(room.clone(), LoadMetrics::default()).make(&wanted)
}

fn key(key: &impl ToString) -> Key {
    Key::new(key.to_string(), 100).unwrap()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

async fn load(loader: &Arc<dyn Loader>, group: &str, key: Key) -> Result<Loaded, LoadError> {
    let request = LoadRequest { group: group.into(), key, deadline: deadline() };
    let _turn = loader.admit(&request).await?;
    loader.load(request).await
}

async fn many<K: ToString>(
    loader: &Arc<dyn Loader>,
    group: &str,
    keys: impl IntoIterator<Item = K>,
) -> Result<Vec<Result<Loaded, LoadError>>, LoadError> {
    let keys: Vec<_> = keys.into_iter().map(|asked| key(&asked)).collect();
    loader.load_many(LoadManyRequest { group: group.into(), keys, deadline: deadline() }).await
}

fn failure(code: i32, message: &str) -> Result<Loaded, LoadError> {
    Err(LoadError::Failed { code, message: format!("loader source: {message}").into() })
}

#[tokio::test]
async fn many_keys_are_one_call_and_each_has_its_own_answer() {
    let source = Source::default();
    let loader = &loaders(&Room::new(8 << 20), &[("users", &source.start().await)])[0];
    assert_eq!(loader.most_keys(), 256);
    let answers = many(loader, "users", ["ada", "none", "fail", "absent", "nothing"]).await.unwrap();
    let found = |outcome| Loaded { outcome, ttl: Some(Duration::from_millis(5)), version: Some(7) };
    assert_eq!(answers[0], Ok(found(Outcome::Value("ada".into()))));
    assert_eq!(answers[1], Ok(found(Outcome::NotFound)));
    assert_eq!(answers[2], failure(15, "the disk is gone"));
    // A failure must never read as "no such key", and its text is cut.
    assert_eq!(answers[3], failure(2, &"no row ".repeat(1_000)[..256]));
    assert_eq!(answers[4], failure(2, "a result is neither a response nor a failure"));
    assert_eq!(source.calls(), ["LoadMany 5"]);
}

#[tokio::test]
async fn a_call_names_whom_it_is_for() {
    let source = Source::default();
    let LoaderKind::Grpc { target, .. } = source.start().await else { panic!("it speaks gRPC") };
    for authority in [None, Some("people.example:443".to_owned())] {
        let expected = authority.clone().unwrap_or(target.clone());
        let kind = LoaderKind::Grpc { target: target.clone(), authority };
        let loader = &loaders(&Room::new(8 << 20), &[("users", &kind)])[0];
        load(loader, "users", key(&"ada")).await.unwrap();
        assert_eq!(std::mem::take(&mut *source.named.lock()), [expected]);
    }
}

#[tokio::test]
async fn a_wrong_number_of_results_tells_nothing_of_any_key() {
    let source = Source::default();
    let loader = &loaders(&Room::new(8 << 20), &[("short", &source.start().await)])[0];
    let error = many(loader, "short", ["a", "b", "c"]).await.unwrap_err();
    assert!(error.to_string().contains("source: LoadMany answered 2 results for 3 keys"), "{error}");
    assert_eq!(source.calls(), ["LoadMany 3"]);
}

#[tokio::test]
async fn a_loader_without_load_many_gets_loads_and_is_not_asked_again() {
    let source = Source::default();
    let loader = &loaders(&Room::new(8 << 20), &[("single", &source.start().await)])[0];
    for round in ["first", "second"] {
        let answers = many(loader, "single", ["a", "none"]).await.unwrap();
        assert!(answers.iter().all(Result::is_ok), "{round}: {answers:?}");
        assert_eq!(loader.most_keys(), 1);
    }
    let calls = source.calls();
    assert_eq!(calls.iter().filter(|call| call.starts_with("LoadMany")).count(), 1, "{calls:?}");
    assert_eq!(calls.iter().filter(|call| call.starts_with("Load ")).count(), 4, "{calls:?}");
    // What is left of the 20 seconds, less the margin, in microseconds or milliseconds.
    let told = calls[1].rsplit(' ').next().unwrap();
    let number: u64 = told[..told.len() - 1].parse().unwrap();
    let millis = if told.ends_with('u') { number / 1_000 } else { number };
    assert!((10_000..20_000).contains(&millis), "{told}");
}

#[tokio::test]
async fn answers_too_large_for_one_message_come_one_by_one_and_in_smaller_parts_then() {
    let source = Source::default();
    let room = Room::new(64 << 20);
    let loader = &loaders(&room, &[("users", &source.start().await)])[0];
    let answers = many(loader, "users", vec![MIB; 10]).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Ok(Loaded { outcome: Outcome::Value(v), .. }) if v.len() == MIB))
    );
    assert_eq!(source.calls().len(), 11);
    assert_eq!(loader.most_keys(), 5);
    many(loader, "users", vec![MIB; 5]).await.unwrap();
    assert_eq!(source.calls(), ["LoadMany 5"]);
    // A single one that is too large is told so, before it is read.
    let error = load(loader, "users", key(&(9 * MIB))).await.unwrap_err();
    assert!(error.to_string().contains("its answer has 9437"), "{error}");
    assert_eq!(room.taken(), 0);
}

/// Turned red by: windows of the usual size. Answers that wait for room fill the connection then, and the one that has room never comes.
#[tokio::test]
async fn more_large_answers_at_once_than_there_is_room_for_all_get_through() {
    let source = Source::default();
    let loader = &loaders(&Room::new(4 * MIB as u64), &[("users", &source.start().await)])[0];
    let loads = (0..48).map(|number| load(loader, "users", key(&(2 * MIB - number))));
    let ended = timeout(Duration::from_secs(15), join_all(loads)).await.expect("none waits for ever");
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
}

/// An HTTP loader that announces a mebibyte and sends nothing of it.
async fn stalling(seen: Arc<Mutex<usize>>) -> LoaderKind {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/{{key}}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n").await;
                *seen.lock() += 1;
                let _ = stream.read(&mut head).await;
            });
        }
    });
    LoaderKind::Http(UrlTemplate::parse(&url).unwrap())
}

/// Turned red by: one room for whoever comes first.
#[tokio::test]
async fn a_group_whose_source_stalls_does_not_delay_another() {
    let seen: Arc<Mutex<usize>> = Arc::default();
    let source = Source::default();
    let (stalls, answers) = (stalling(Arc::clone(&seen)).await, source.start().await);
    let room = Room::new(8 << 20);
    let made = loaders(&room, &[("stalls", &stalls), ("users", &answers)]);
    let stalled: Vec<_> = (0..20)
        .map(|number| {
            let loader = Arc::clone(&made[0]);
            tokio::spawn(async move { load(&loader, "stalls", key(&format!("k{number}"))).await })
        })
        .collect();
    while *seen.lock() < 20 || room.taken() < 4 << 20 {
        tokio::task::yield_now().await;
    }
    for number in 0..20 {
        let load = load(&made[1], "users", key(&(MIB - number)));
        timeout(Duration::from_secs(5), load).await.expect("it is not delayed").unwrap();
    }
    assert_eq!(room.taken(), 4 << 20, "the group that stalls has half");
    for load in stalled {
        load.abort();
    }
}
