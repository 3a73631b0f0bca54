//! The HTTP port on which people look at the loader, change names and turn its faults on.
//!
//! | request | answer |
//! |---|---|
//! | `GET /healthz` | 200 `ok` |
//! | `GET /metrics` | the counters, for Prometheus |
//! | `GET /loads` | `{"loads": N}`: keys loaded so far |
//! | `GET /loads?key=U+1F980` | `{"key": "U+1F980", "loads": N}`: loads of that key |
//! | `GET /names/U+1F980` | the row, or 404 |
//! | `PUT /names/U+1F980`, body: a name | the row as it is now; a cached name stays until it is removed or expires |
//! | `GET /faults` | the faults in force |
//! | `PUT /faults`, body: `{"delay_ms": 200, "fail": true}` | puts them in force; what is left out is off |
//!
//! It is for trials: whoever reaches this port can break the loader. A real loader has no such thing.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Json, Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use crate::unicode::faults::Faults;
use crate::unicode::key;
use crate::unicode::service::UnicodeLoader;
use crate::unicode::table::Record;

/// Longest name that can be PUT, in bytes: the longest that Unicode has is 88.
const MAX_NAME_BYTES: usize = 1_024;

/// Everything the port answers.
pub fn router(loader: UnicodeLoader) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get(metrics))
        .route("/loads", get(loads))
        .route("/names/{key}", get(name).put(rename))
        .route("/faults", get(faults).put(set_faults))
        .layer(DefaultBodyLimit::max(MAX_NAME_BYTES))
        .with_state(loader)
}

async fn metrics(State(loader): State<UnicodeLoader>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], loader.counts.scrape()).into_response()
}

async fn loads(State(loader): State<UnicodeLoader>, RawQuery(query): RawQuery) -> Json<Value> {
    match query.as_deref().and_then(key_of) {
        Some(key) => Json(json!({ "key": key, "loads": loader.counts.of_key(&key) })),
        None => Json(json!({ "loads": loader.counts.total() })),
    }
}

/// The `key` of a query. A plus stays a plus: `U+1F980` can be typed as it is.
fn key_of(query: &str) -> Option<String> {
    let key = query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    Some(percent_decode_str(key).decode_utf8_lossy().into_owned())
}

async fn name(State(loader): State<UnicodeLoader>, Path(key): Path<String>) -> Response {
    match loader.table.get(&key).await {
        Ok(Some(row)) => as_json(&row).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, format!("{key} has no name\n")).into_response(),
        Err(error) => failed(&error),
    }
}

async fn rename(State(loader): State<UnicodeLoader>, Path(key): Path<String>, name: String) -> Response {
    if !key::is_well_formed(&key) {
        let message = format!("{key:?} is no key; write U+ and 4 to 6 upper-case hexadecimal digits\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    match loader.table.put(&key, name.trim_end()).await {
        Ok(row) => as_json(&row).into_response(),
        Err(error) => failed(&error),
    }
}

async fn faults(State(loader): State<UnicodeLoader>) -> Json<Faults> {
    Json(loader.faults.get())
}

/// Takes the body as text, so that `curl -X PUT -d '{..}'` works without a header.
async fn set_faults(State(loader): State<UnicodeLoader>, body: String) -> Response {
    let parsed = serde_json::from_str::<Faults>(&body).map_err(|error| error.to_string());
    match parsed.and_then(|faults| loader.faults.set(faults)) {
        Ok(()) => Json(loader.faults.get()).into_response(),
        Err(reason) => (StatusCode::BAD_REQUEST, format!("faults refused: {reason}\n")).into_response(),
    }
}

fn as_json(row: &Record) -> Json<Value> {
    Json(json!({ "key": row.key, "name": row.name, "version": row.version }))
}

fn failed(error: &sqlx::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the names table: {error}\n")).into_response()
}
