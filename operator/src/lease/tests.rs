//! Candidates against a small API server that keeps one Lease and refuses stale writes. The clock stands still.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;

/// Keeps one Lease.
#[derive(Clone, Debug, Default)]
struct Server {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    lease: Option<Value>,
    writes: u64,
    down: bool,
}

impl Server {
    fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let mut state = self.state.lock();
        if state.down {
            return failure(StatusCode::SERVICE_UNAVAILABLE);
        }
        if parts.method == Method::GET {
            return state.lease.as_ref().map_or_else(|| failure(StatusCode::NOT_FOUND), success);
        }
        let mut written: Value = serde_json::from_slice(&body).expect("a lease");
        let held = state.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone());
        let stale = match parts.method {
            Method::POST => held.is_some(),
            _ => held != Some(written["metadata"]["resourceVersion"].clone()),
        };
        if stale {
            return failure(StatusCode::CONFLICT);
        }
        state.writes += 1;
        written["metadata"]["resourceVersion"] = json!(state.writes.to_string());
        let answer = success(&written);
        state.lease = Some(written);
        answer
    }

    fn spec(&self) -> Value {
        self.state.lock().lease.as_ref().map(|lease| lease["spec"].clone()).unwrap_or_default()
    }

    fn candidate(&self, identity: &str) -> Elector {
        Elector::new(self.client(), "default", "operator".into(), identity.into())
    }
}

fn success(value: &Value) -> Response<Body> {
    Response::new(Body::from(value.to_string().into_bytes()))
}

fn failure(code: StatusCode) -> Response<Body> {
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(),
        "reason": code.canonical_reason().unwrap_or_default().replace(' ', ""), "message": "no", "metadata": {}});
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = code;
    response
}

#[tokio::test(start_paused = true)]
async fn the_first_gets_it_and_the_second_waits_until_it_runs_out() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("first"), server.candidate("second"));
    first.acquire().await;
    assert_eq!(server.spec()["holderIdentity"], "first");

    let started = Instant::now();
    second.acquire().await;
    let waited = started.elapsed();
    assert!(waited >= DURATION, "it waited {waited:?}");
    assert_eq!(server.spec()["holderIdentity"], "second");
    assert_eq!(server.spec()["leaseTransitions"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_renews_is_not_pushed_out() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("first"), server.candidate("second"));
    first.acquire().await;
    tokio::select! {
        () = first.hold() => panic!("it held"),
        () = second.acquire() => panic!("it is held"),
        () = tokio::time::sleep(DURATION * 10) => {}
    }
    assert_eq!(server.spec()["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_stops_before_another_may_start() {
    let server = Server::default();
    let mut first = server.candidate("first");
    first.acquire().await;
    let renewed = Instant::now();
    server.state.lock().down = true;
    first.hold().await;
    let held_on = renewed.elapsed();
    assert!(held_on >= RENEW_DEADLINE, "it gave up after {held_on:?}");
    assert!(held_on < DURATION, "it acted for {held_on:?}, and another may start after {DURATION:?}");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_free_at_once() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("first"), server.candidate("second"));
    first.acquire().await;
    first.release().await;
    let started = Instant::now();
    second.acquire().await;
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn another_machines_clock_is_not_believed() {
    let server = Server::default();
    let mut first = server.candidate("first");
    first.acquire().await;
    // Its clock is an hour behind: by the times alone the lease ran out long ago.
    server.state.lock().lease.as_mut().expect("a lease")["spec"]["renewTime"] =
        json!("2020-01-01T00:00:00.000000Z");
    let started = Instant::now();
    server.candidate("second").acquire().await;
    assert!(started.elapsed() >= DURATION);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_try_at_once_one_gets_it() {
    let server = Server::default();
    let (mut first, mut second) = (server.candidate("first"), server.candidate("second"));
    let (one, two) = tokio::join!(first.attempt(), second.attempt());
    let held = [&one, &two].into_iter().filter(|done| matches!(done, Ok(Try::Held))).count();
    assert_eq!(held, 1, "{one:?} {two:?}");
}

#[tokio::test(start_paused = true)]
async fn a_claim_stands_only_while_the_lease_names_this_process() {
    let server = Server::default();
    let mut first = server.candidate("first");
    let claim = first.claim();
    assert!(!claim.stands().await, "nobody holds it");
    first.acquire().await;
    assert!(claim.stands().await);
    assert!(!server.candidate("second").claim().stands().await);
    server.state.lock().down = true;
    assert!(!claim.stands().await, "no answer is no");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_read_the_lease_for_long_is_not_ready() {
    let server = Server::default();
    let readiness = groupcache_process::readiness::Readiness::new();
    let mut first = server.candidate("first");
    first.acquire().await;
    let mut second = server.candidate("second").tending(readiness.condition("lease", "not read yet"));
    assert!(!readiness.is_ready());
    // It is handed back, and with it the condition: by then the first's record has run out.
    let waiting = tokio::spawn(async move {
        second.acquire().await;
        second
    });
    readiness.ready().await;

    server.state.lock().down = true;
    let mut changes = readiness.follow();
    let since = Instant::now();
    while changes.next().await.expect("it is tended").is_empty() {}
    assert!(since.elapsed() >= DURATION && since.elapsed() <= DURATION * 2, "{:?}", since.elapsed());
    server.state.lock().down = false;
    readiness.ready().await;
    waiting.await.expect("it leads");
}
