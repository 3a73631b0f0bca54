//! The admin port: is it alive, is it ready, what does it count, and a few knobs; plain HTTP.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::exposition;
use crate::readiness::Readiness;
use crate::telemetry::LogFilter;

/// Connections served at once: probes, a few scrapers and a person; more is abuse.
const MAX_CONNECTIONS: usize = 64;

/// How long a connection may say nothing, or only half a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests under way may take once the port closes.
const CLOSING_GRACE: Duration = Duration::from_secs(1);

/// Longest request body; the only one is a log filter.
const MAX_BODY_BYTES: usize = 4096;

/// Who asks.
#[derive(Clone, Copy, Debug)]
struct Caller(SocketAddr);

impl Caller {
    fn is_local(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// The admin port, before it is served.
#[derive(Clone, Debug)]
pub struct Admin {
    registry: Arc<Registry>,
    readiness: Readiness,
    log: Option<LogFilter>,
    routes: Router,
}

impl Admin {
    /// Serves these metrics and this readiness.
    #[must_use]
    pub fn new(registry: Arc<Registry>, readiness: Readiness) -> Self {
        Admin { registry, readiness, log: None, routes: Router::new() }
    }

    /// Lets `PUT /debug/log` change what is logged, from this machine alone.
    #[must_use]
    pub fn with_log_filter(mut self, filter: LogFilter) -> Self {
        self.log = Some(filter);
        self
    }

    /// Adds routes of the binary's own, by custom under `/debug/`.
    #[must_use]
    pub fn with_routes(mut self, routes: Router) -> Self {
        self.routes = self.routes.merge(routes);
        self
    }

    /// The routes, for whoever serves them elsewhere.
    pub fn into_router(self) -> Router {
        let routes = self.routes.clone();
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/debug/log", get(log).put(set_log))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .with_state(self)
            .merge(routes)
    }

    /// Serves until `stop`, then lets requests under way end. No accept error ends it; garbage costs one connection.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let router = self.into_router();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        loop {
            // Dropping the accept loses nothing: a connection not taken stays with the system.
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, caller)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let router = router.clone().layer(Extension(Caller(caller)));
                    let served = serve_connection(stream, router, &graceful);
                    tokio::spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin port could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        // What has not ended by then is cut off with the process.
        let _ = tokio::time::timeout(CLOSING_GRACE, graceful.shutdown()).await;
    }
}

fn serve_connection(
    stream: TcpStream,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    let service = tower_service(router);
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let watched = graceful.watch(connection);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection to the admin port ended early");
        }
    }
}

fn tower_service(
    router: Router,
) -> impl hyper::service::Service<
    Request<hyper::body::Incoming>,
    Response = Response,
    Error = Infallible,
    Future: Send + 'static,
> + Send
+ 'static {
    TowerToHyperService::new(router.into_service::<hyper::body::Incoming>())
}

async fn ready(State(admin): State<Admin>) -> Response {
    let missing = admin.readiness.missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    let said: String = missing.iter().map(|m| format!("{}: {}\n", m.name, m.reason)).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready\n{said}")).into_response()
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (kind, text) = if accept.contains("application/openmetrics-text") {
        (exposition::OPENMETRICS, exposition::openmetrics(&admin.registry))
    } else {
        (exposition::PROMETHEUS, exposition::prometheus(&admin.registry))
    };
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "a metric could not be written as text\n").into_response()
        }
    }
}

async fn log(State(admin): State<Admin>) -> Response {
    match &admin.log {
        Some(log) => format!("{}\n", log.current()).into_response(),
        None => no_log(),
    }
}

async fn set_log(State(admin): State<Admin>, caller: Option<Extension<Caller>>, body: Bytes) -> Response {
    let Some(log) = &admin.log else { return no_log() };
    // Probes and scrapers come from elsewhere; with more in the log, keys would be in it too.
    if !caller.is_some_and(|Extension(caller)| caller.is_local()) {
        let text =
            "what is logged is changed from the machine itself, in Kubernetes through kubectl port-forward\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let filter = String::from_utf8_lossy(&body);
    match log.set(&filter) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "what is logged was changed through the admin port");
            format!("{}\n", log.current()).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}\n")).into_response(),
    }
}

fn no_log() -> Response {
    Response::builder()
        .status(StatusCode::NOT_FOUND)
        .body(Body::from("this process's logs are not changed here\n"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
