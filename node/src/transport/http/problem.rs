//! Failures as problem documents (RFC 9457), and answers without one.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::transport::calls::CallError;
use crate::transport::wire::{retry_after, words};

const PROBLEMS: &str = "https://groupcache.dev/problems/";

/// The answer to a call that failed.
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
    if words.status == StatusCode::UNAUTHORIZED {
        // What such an answer must say (RFC 9110, 15.5.2).
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// An answer that says what is wrong.
pub(super) fn problem(status: StatusCode, kind: &str, title: &str, detail: &str) -> Response {
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

/// An answer with these headers.
pub(super) fn answer(status: StatusCode, body: Body, said: &[(http::HeaderName, String)]) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in said {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
