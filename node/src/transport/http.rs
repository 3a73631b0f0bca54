//! The HTTP door, for people and curl: `GET|HEAD|DELETE /v1/groups/{group}/keys/{key}`.
//!
//! The key is read from the raw path: `.`, `..`, `%2F` and `+` are keys like others, and everything after `/keys/` is the key.

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use groupcache_group::group::{Answer, Source};
use groupcache_group::value::Outcome;
use groupcache_ring::hash::xxh64;
use http::header::{AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use crate::transport::calls::{self, CallError, Calls};
use crate::transport::outgoing::Weight;
use crate::transport::wire::{retry_after, words};

/// The routes of this door.
pub const ROUTE: &str = "/v1/groups/{*rest}";

/// How long the caller waits, in milliseconds; without it the server's maximum.
pub const TIMEOUT_HEADER: &str = "groupcache-timeout-ms";

/// How this cache came by its answer (RFC 9211); a negative ttl says for how long a stale answer has been so.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

const PROBLEMS: &str = "https://groupcache.dev/problems/";

/// Answers one request of this door.
pub async fn serve(State(calls): State<Calls>, request: Request<Body>) -> Response {
    let head = request.method() == Method::HEAD;
    let response = match (request.method().clone(), parse(&request)) {
        (Method::GET | Method::HEAD, Ok(Asked { group, key, deadline })) => {
            match calls.get(&group, key, deadline).await {
                Ok(answer) => found(&answer, request.headers(), deadline),
                Err(error) => failed(&error),
            }
        }
        (Method::DELETE, Ok(Asked { group, key, deadline })) => {
            match calls.remove(&group, vec![key], deadline).await {
                Ok(()) => answer(StatusCode::NO_CONTENT, Body::empty(), &[]),
                Err(error) => failed(&error),
            }
        }
        (Method::GET | Method::HEAD | Method::DELETE, Err(error)) => failed(&error),
        (method, _) => {
            let detail = format!("{method} is not served here; GET, HEAD and DELETE are");
            let mut response =
                problem(StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not served", &detail);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, DELETE"));
            response
        }
    };
    if head { headless(response) } else { response }
}

/// Answers a path that is none of this port's: in HTTP's words, unless it is gRPC that asks.
pub async fn elsewhere(request: Request<Body>) -> Response {
    if is_grpc(request.headers()) {
        let path = request.uri().path();
        return tonic::Status::unimplemented(format!("there is no {path} here; ask the reflection service"))
            .into_http();
    }
    let detail = "this port serves gRPC, and GET, HEAD and DELETE on /v1/groups/{group}/keys/{key}";
    problem(StatusCode::NOT_FOUND, "path", "There is no such path", detail)
}

/// True for a request that wants its answer in gRPC's words.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What a request asks.
struct Asked {
    group: String,
    key: Bytes,
    deadline: Instant,
}

/// Group and key from the raw path, and the time from the headers.
fn parse(request: &Request<Body>) -> Result<Asked, CallError> {
    let invalid = |what: &str| CallError::Invalid(what.to_owned());
    let rest = request.uri().path().strip_prefix("/v1/groups/").unwrap_or_default();
    let (group, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(key) = rest.strip_prefix("keys/") else {
        return Err(invalid("a path is /v1/groups/{group}/keys/{key}"));
    };
    if request.uri().query().is_some() {
        return Err(invalid("a ? in a key is written %3F"));
    }
    for part in [group, key] {
        let escapes = part.split('%').skip(1);
        if !escapes.clone().all(|e| e.len() >= 2 && e.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit)) {
            return Err(invalid("a % in a key is written %25"));
        }
    }
    let group =
        percent_decode_str(group).decode_utf8().map_err(|_| invalid("the group's name is no text"))?;
    let deadline = calls::deadline(timeout(request.headers())?);
    Ok(Asked { group: group.into_owned(), key: percent_decode_str(key).collect(), deadline })
}

fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, CallError> {
    let Some(said) = headers.get(TIMEOUT_HEADER) else { return Ok(None) };
    let digits = said.to_str().ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|text| text.parse().ok()) {
        Some(millis) => Ok(Some(Duration::from_millis(millis))),
        None => Err(CallError::Invalid(format!(
            "the {TIMEOUT_HEADER} {said:?} is no time; write whole milliseconds, such as 250"
        ))),
    }
}

fn found(found: &Answer, headers: &HeaderMap, deadline: Instant) -> Response {
    let Outcome::Value(value) = &found.entry.outcome else {
        return problem(StatusCode::NOT_FOUND, "no-such-key", "No such key", "the loader has no such key");
    };
    let now = Instant::now();
    let age = now.saturating_duration_since(found.entry.loaded).as_secs();
    let tag = format!("\"{:016x}\"", xxh64(value));
    let said = [
        (ETAG, tag.clone()),
        (AGE, age.to_string()),
        // Only this cache can be purged: nobody in between may answer on its own.
        (CACHE_CONTROL, "no-cache".to_owned()),
        (CACHE_STATUS, cache_status(found, now)),
    ];
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.trim() == "*" || known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag) {
        return answer(StatusCode::NOT_MODIFIED, Body::empty(), &said);
    }
    let mut response = answer(StatusCode::OK, Body::from(value.clone()), &said);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response.extensions_mut().insert(Weight { bytes: value.len(), deadline });
    response
}

/// A hit of this node or a way to the owner or the loader, and what is left of its time.
fn cache_status(found: &Answer, now: Instant) -> String {
    let mut status = "groupcache".to_owned();
    status.push_str(match found.source {
        Source::Main | Source::Hot | Source::Stale => "; hit",
        Source::Peer | Source::Loader => "; fwd=miss",
    });
    if let Some(expires) = found.entry.expires {
        let left = expires.saturating_duration_since(now).as_secs();
        // A stale answer never reads as a fresh one, not even in its first second.
        let over = now.saturating_duration_since(expires).as_secs_f64().ceil().max(1.0);
        status.push_str(&if found.source == Source::Stale {
            format!("; ttl=-{over:.0}")
        } else {
            format!("; ttl={left}")
        });
    }
    status
}

pub(crate) fn failed(error: &CallError) -> Response {
    let words = words(error);
    let mut response = problem(words.status, words.kind, words.title, &error.to_string());
    if let Some(after) = retry_after(error) {
        // The header counts whole seconds, and none would be "at once".
        let seconds = after.as_secs_f64().ceil().max(1.0);
        if let Ok(value) = HeaderValue::from_str(&format!("{seconds:.0}")) {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
    }
    response
}

fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
    let body = serde_json::json!({
        "type": format!("{PROBLEMS}{kind}"),
        "title": title,
        "status": status.as_u16(),
        "detail": detail,
    });
    let mut response = answer(status, Body::from(format!("{body}\n")), &[]);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn answer(status: StatusCode, body: Body, said: &[(http::HeaderName, String)]) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in said {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The answer to a HEAD: all that GET would say but the body.
fn headless(response: Response) -> Response {
    use http_body::Body as _;
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact()
        && let Ok(value) = HeaderValue::from_str(&length.to_string())
    {
        head.headers.insert(http::header::CONTENT_LENGTH, value);
    }
    head.extensions.remove::<Weight>();
    Response::from_parts(head, Body::empty())
}
