//! The HTTP loader: GET on a URL made of the key; 200 is the value, 404 is "no such key", anything else a failure.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader};
use groupcache_group::value::Outcome;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, HeaderMap, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;

use crate::causes::causes;
use crate::configuration::MAX_VALUE_BYTES;
use crate::loader::failure::{RESOURCE_EXHAUSTED, UNAVAILABLE, UNKNOWN, failed};
use crate::loader::reach::Resolver;
use crate::loader::room::GroupRoom;
use crate::loader::template::UrlTemplate;

/// How long an unused connection is kept: less than any common server's own limit (the shortest is 2 s), so that a load never meets a connection being closed.
const IDLE: Duration = Duration::from_secs(1);

/// When a connection attempt is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// When a connection whose peer acknowledges nothing is given up.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of a refusal's text is passed on.
const SNIPPET_BYTES: usize = 256;

/// Says how many milliseconds an answer is waited for: the header in which a caller tells a node the same.
const TIMEOUT_HEADER: &str = "groupcache-timeout-ms";

/// Who asks.
const AGENT: &str = concat!("groupcache-node/", env!("CARGO_PKG_VERSION"));

/// Loads through HTTP.
#[derive(Debug)]
pub struct HttpLoader {
    name: String,
    template: UrlTemplate,
    max_value_bytes: usize,
    room: GroupRoom,
    client: Client<HttpsConnector<HttpConnector<Resolver>>, Empty<Bytes>>,
}

impl HttpLoader {
    /// A loader that reads from `template`, for values of usually at most `max_value_bytes`.
    #[must_use]
    pub fn new(name: String, template: UrlTemplate, max_value_bytes: usize, room: GroupRoom) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new());
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(https(tcp));
        HttpLoader { name, template, max_value_bytes, room, client }
    }

    async fn ask(&self, request: LoadRequest) -> Result<Loaded, LoadError> {
        let fail = |code, what: String| failed(&self.name, code, what);
        let url = self.template.of(&request.group, &request.key);
        let url = url.map_err(|error| fail(UNKNOWN, format!("the key does not fit into a URL: {error}")))?;
        let answer = match self.send(&url, request.deadline).await {
            // As every HTTP client does for a GET: the server may have closed an unused connection just as it was taken up again.
            Err(error) if closed_unanswered(&error) => self.send(&url, request.deadline).await,
            answer => answer,
        };
        let answer = answer.map_err(|error| fail(UNAVAILABLE, causes(&error)))?;

        let (head, body) = answer.into_parts();
        let ttl = ttl(&head.headers);
        match head.status {
            StatusCode::OK => {
                let encoding = head.headers.get(CONTENT_ENCODING).map(http::HeaderValue::as_bytes);
                if encoding.is_some_and(|encoding| encoding != b"identity") {
                    return Err(fail(
                        UNKNOWN,
                        "it sent a compressed value although none was asked for".into(),
                    ));
                }
                let value = self.read(body).await.map_err(|what| fail(UNAVAILABLE, what))?;
                Ok(Loaded { outcome: Outcome::Value(value), ttl, version: None })
            }
            StatusCode::NOT_FOUND => Ok(Loaded { outcome: Outcome::NotFound, ttl, version: None }),
            status => Err(fail(code(status), format!("it answered {status}: {}", snippet(body).await))),
        }
    }

    async fn send(&self, url: &Uri, deadline: Instant) -> Result<Response<Incoming>, Error> {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = url.clone();
        request.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        request
            .headers_mut()
            .insert(TIMEOUT_HEADER, HeaderValue::from(u64::try_from(left).unwrap_or(u64::MAX)));
        self.client.request(request).await
    }

    /// Reads a value, never more than the bound, and only once there is memory for it.
    async fn read(&self, mut body: Incoming) -> Result<Bytes, String> {
        let most = MAX_VALUE_BYTES as usize;
        let told = body.size_hint().exact().map(|len| usize::try_from(len).unwrap_or(usize::MAX));
        let too_large = || format!("the value is larger than {most} bytes, the most a group may hold");
        if told.is_some_and(|len| len > most) {
            return Err(too_large());
        }
        let mut room = told.unwrap_or(self.max_value_bytes).min(most);
        let mut reserved = Some(self.room.reserve(room as u64).await);
        let mut value = BytesMut::with_capacity(told.unwrap_or_default());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("the value broke off: {}", causes(&error)))?;
            let Ok(data) = frame.into_data() else { continue };
            let len = value.len() + data.len();
            if len > most {
                return Err(too_large());
            }
            if len > room {
                // Given back before the larger part is asked for: two that each hold a part and wait for more would wait for each other.
                drop(reserved.take());
                reserved = Some(self.room.reserve(most as u64).await);
                room = most;
            }
            value.extend_from_slice(&data);
        }
        drop(reserved);
        Ok(value.freeze())
    }
}

impl Loader for HttpLoader {
    fn name(&self) -> &str {
        &self.name
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(self.ask(request))
    }
}

fn https(tcp: HttpConnector<Resolver>) -> HttpsConnector<HttpConnector<Resolver>> {
    hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp)
}

/// True if the connection was closed before a byte of the answer came.
fn closed_unanswered(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<hyper::Error>());
    cause.is_some_and(|cause| cause.is_incomplete_message() || cause.is_canceled())
}

/// For how long the source says its answer may be kept; zero: not at all.
#[must_use]
pub fn ttl(headers: &HeaderMap) -> Option<Duration> {
    let mut ttl = None;
    for value in headers.get_all(CACHE_CONTROL) {
        for directive in value.to_str().unwrap_or_default().split(',') {
            let directive = directive.trim().to_ascii_lowercase();
            if directive == "no-store" || directive == "no-cache" {
                return Some(Duration::ZERO);
            }
            if let Some(seconds) = directive.strip_prefix("max-age=") {
                // The shortest that is said counts, and what is no number says: stale already (RFC 9111, 4.2.1).
                let age = age(seconds.trim_matches('"'));
                ttl = Some(ttl.map_or(age, |before: Duration| before.min(age)));
            }
        }
    }
    ttl
}

/// Whole seconds; more than can be counted is as long as can be counted.
fn age(seconds: &str) -> Duration {
    if seconds.is_empty() || !seconds.bytes().all(|b| b.is_ascii_digit()) {
        return Duration::ZERO;
    }
    seconds.parse().map_or(Duration::MAX, Duration::from_secs)
}

/// The gRPC code that says best what a status says.
fn code(status: StatusCode) -> i32 {
    match status {
        // Not "try again", which is what it does not want.
        StatusCode::TOO_MANY_REQUESTS => RESOURCE_EXHAUSTED,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            UNAVAILABLE
        }
        _ => UNKNOWN,
    }
}

/// The beginning of a refusal's text, fit for one line of a log.
async fn snippet(mut body: Incoming) -> String {
    let mut text = BytesMut::new();
    while text.len() < SNIPPET_BYTES {
        match body.frame().await {
            Some(Ok(frame)) => text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            _ => break,
        }
    }
    text.truncate(SNIPPET_BYTES);
    String::from_utf8_lossy(&text).trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_is_the_ttl_and_no_store_is_none_at_all() {
        let ttl_of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, value.parse().unwrap());
            ttl(&headers)
        };
        assert_eq!(ttl(&HeaderMap::new()), None);
        assert_eq!(ttl_of("max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!(ttl_of("public, Max-Age=5"), Some(Duration::from_secs(5)));
        assert_eq!(ttl_of("max-age=60, no-store"), Some(Duration::ZERO));
        assert_eq!(ttl_of("max-age=60, max-age=5"), Some(Duration::from_secs(5)));
        for nonsense in ["max-age=soon", "max-age=-5", "max-age=", "max-age=+5", "max-age=5, max-age=1.5"] {
            assert_eq!(ttl_of(nonsense), Some(Duration::ZERO), "{nonsense}");
        }
        assert_eq!(ttl_of("max-age=99999999999999999999999"), Some(Duration::MAX));
    }
}
