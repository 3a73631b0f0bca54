//! The HTTP door, for people and curl.
//!
//! `GET|HEAD|PUT|DELETE /v1/groups/{group}/keys/{key}`, and `DELETE /v1/groups/{group}/keys` for all of a group.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use groupcache_group::group::{Answer, Source};
use groupcache_group::value::Outcome;
use groupcache_ring::hash::xxh64;
use http::header::{AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use tokio::time::Instant;

use crate::transport::calls::{self, CallError, Calls};
use crate::transport::http::asked::{Asked, What, parse, source_version, storing};
use crate::transport::http::problem::{answer, failed, problem};
use crate::transport::outgoing::Weight;

pub mod asked;
pub(crate) mod problem;
mod value;

/// The routes of this door.
pub const ROUTE: &str = "/v1/groups/{*rest}";

/// What a key can be asked.
const OF_A_KEY: &str = "GET, HEAD, PUT, DELETE";

/// What a whole group can be asked.
const OF_ALL: &str = "DELETE";

/// How this cache came by its answer (RFC 9211); a negative ttl says for how long a stale answer has been so.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Answers one request of this door.
pub async fn serve(State(calls): State<Calls>, request: Request<Body>) -> Response {
    let method = request.method().clone();
    let calls_of = calls.of(request.extensions().get().copied());
    let response = match (&method, parse(&request)) {
        (&Method::GET | &Method::HEAD, Ok(Asked { group, what: What::Key(key), deadline })) => {
            match calls_of.get(&group, key, deadline).await {
                Ok(answer) => found(&answer, request.headers(), deadline),
                Err(error) => failed(&error),
            }
        }
        (&Method::PUT, Ok(Asked { group, what: What::Key(key), deadline })) => {
            done(put(&calls, &group, key, deadline, request).await)
        }
        (&Method::DELETE, Ok(Asked { group, what: What::Key(key), deadline })) => {
            done(match source_version(request.headers()) {
                Ok(version) => calls_of.remove(&group, vec![key], version, deadline).await,
                Err(error) => Err(error),
            })
        }
        (&Method::DELETE, Ok(Asked { group, what: What::All, deadline })) => {
            done(calls_of.flush(&group, deadline).await)
        }
        (&Method::GET | &Method::HEAD | &Method::PUT | &Method::DELETE, Err(error)) => failed(&error),
        (_, Ok(Asked { what: What::All, .. })) => not_served(&method, OF_ALL),
        _ => not_served(&method, OF_A_KEY),
    };
    if method == Method::HEAD { headless(response) } else { response }
}

/// Answers a path that is none of this port's: in HTTP's words, unless it is gRPC that asks.
pub async fn elsewhere(request: Request<Body>) -> Response {
    if is_grpc(request.headers()) {
        let path = request.uri().path();
        return tonic::Status::unimplemented(format!("there is no {path} here; ask the reflection service"))
            .into_http();
    }
    let detail = format!("this port serves gRPC, and {OF_A_KEY} on /v1/groups/{{group}}/keys/{{key}}");
    problem(StatusCode::NOT_FOUND, "path", "There is no such path", &detail)
}

/// Refuses a request whatever it asks. Its body is read on, so that its client sees why.
pub(crate) async fn refused(request: Request<Body>, error: &CallError) -> Response {
    let (head, mut body) = request.into_parts();
    value::drain(&head, &mut body, calls::deadline(None)).await;
    let response = failed(error);
    if head.method == Method::HEAD { headless(response) } else { response }
}

/// True for a request that wants its answer in gRPC's words.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// Stores the body. What can be refused is refused before it is read: a client that asked whether to send it at all is told no.
async fn put(
    calls: &Calls,
    group: &str,
    key: Bytes,
    deadline: Instant,
    request: Request<Body>,
) -> Result<(), CallError> {
    let (head, mut body) = request.into_parts();
    let calls_of = calls.of(head.extensions.get().copied());
    let allowed =
        storing(&head.headers).and_then(|storing| Ok((storing, calls_of.longest_value(group, &key)?)));
    let (storing, limit) = match allowed {
        Ok(allowed) => allowed,
        Err(error) => {
            value::drain(&head, &mut body, deadline).await;
            return Err(error);
        }
    };
    // Until the answer: what is stored is held here as long as that takes.
    let mut place = calls.incoming().place();
    let value = value::read(&head, body, limit, &mut place, deadline).await?;
    calls_of.set(group, key, value, storing.ttl, storing.source_version, deadline).await
}

fn done(result: Result<(), CallError>) -> Response {
    match result {
        Ok(()) => answer(StatusCode::NO_CONTENT, Body::empty(), &[]),
        Err(error) => failed(&error),
    }
}

fn not_served(method: &Method, allowed: &'static str) -> Response {
    let detail = format!("{method} is not served here; of {allowed} each is");
    let mut response =
        problem(StatusCode::METHOD_NOT_ALLOWED, "method", "This method is not served", &detail);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
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
