//! The listener: takes connections of one port, and keeps hostile ones from costing much.
//!
//! Whoever is silent, over the cap or talks garbage loses its own connection and nothing else happens.
//! An accept that fails, for want of file descriptors say, is tried again after a pause.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::ConnectionMetrics;
use crate::transport::accepting::{Accepted, Acceptor, Opening};
use crate::transport::connection::Connection;
use crate::transport::http::is_grpc;
use crate::transport::outgoing::{OutOfRoom, Outgoing, Unsent};
use crate::transport::overdue;
use crate::transport::preface::{self, Protocol};

/// How long a connection may take to open and to say which HTTP it speaks.
const FIRST_BYTES: Duration = Duration::from_secs(5);

/// How long an HTTP/1.1 connection may take for a request's head, or be unused: pools of clients keep connections for less.
const HEAD: Duration = Duration::from_secs(30);

/// Pause after an accept that failed, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Longest head of a request.
const MAX_HEAD_BYTES: u32 = 16 << 10;

/// Between HTTP/2 pings.
const PING: Duration = Duration::from_secs(20);

/// How long a ping's answer may take.
const PONG: Duration = Duration::from_secs(10);

/// Most bytes that wait to be sent on one HTTP/2 stream beyond its window.
const MAX_SEND_BUFFER_BYTES: usize = 256 << 10;

/// How long calls under way may take once a connection is asked to end: the longest deadline.
const GRACE: Duration = Duration::from_secs(30);

/// What one port allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The port's name: data or cluster.
    pub port: &'static str,
    /// Connections at a time.
    pub max_connections: usize,
    /// Calls at a time on one HTTP/2 connection.
    pub max_streams: u32,
    /// When a connection is asked to end, give or take a tenth, so that clients meet new nodes; `None`: never.
    pub max_age: Option<Duration>,
    /// Over how long the ends of connections are spread when the port closes.
    pub spread: Duration,
}

/// When a port ends.
#[derive(Clone, Debug)]
pub struct End {
    /// No more connections; those there are asked to end.
    pub close: CancellationToken,
    /// Connections are cut.
    pub abort: CancellationToken,
}

/// Serves a port until it is closed, and returns when its last connection has ended.
pub async fn serve(
    mut acceptor: Box<dyn Acceptor>,
    router: Router,
    limits: Limits,
    end: End,
    outgoing: Outgoing,
    metrics: ConnectionMetrics,
) {
    let places = Arc::new(Semaphore::new(limits.max_connections));
    let connections = TaskTracker::new();
    loop {
        // Dropping the accept loses nothing: a connection not taken stays with the system.
        let accepted = tokio::select! {
            biased;
            () = end.close.cancelled() => break,
            accepted = acceptor.accept() => accepted,
        };
        let opening = match accepted {
            Ok(opening) => opening,
            Err(error) => {
                tracing::warn!(port = limits.port, %error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.refused(limits.port);
            continue;
        };
        metrics.opened(limits.port);
        let (router, end, metrics) = (router.clone(), end.clone(), metrics.clone());
        let outgoing = outgoing.clone();
        connections.spawn(async move {
            let abort = end.abort.clone();
            tokio::select! {
                () = connection(opening, router, limits, end, &outgoing, &metrics) => {}
                // What the connection was doing is lost: that is what an abort is.
                () = abort.cancelled() => {}
            }
            drop(place);
        });
    }
    drop(acceptor);
    connections.close();
    connections.wait().await;
}

async fn connection(
    opening: Opening,
    router: Router,
    limits: Limits,
    end: End,
    outgoing: &Outgoing,
    metrics: &ConnectionMetrics,
) {
    let open = async {
        let Accepted { io, caller } = opening.await?;
        Ok::<_, std::io::Error>((preface::open(io).await?, caller))
    };
    let opened = tokio::select! {
        opened = timeout(FIRST_BYTES, open) => opened,
        // It has asked nothing yet.
        () = end.close.cancelled() => return,
    };
    let Ok(Ok(((protocol, stream), caller))) = opened else {
        metrics.refused(limits.port);
        return;
    };
    let io = TokioIo::new(stream);
    let known = Connection { unsent: Unsent::new(outgoing), ending: CancellationToken::new(), caller };
    let ending = known.ending.clone();
    let unsent = known.unsent.clone();
    let service = TowerToHyperService::new(Service { router, connection: known });
    let unread = unsent.stalled();
    match protocol {
        Protocol::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(MAX_HEAD_BYTES as usize)
                .serve_connection(io, service);
            let driven = drive(connection, limits, &end, &ending);
            ended_or_unread(driven, unread, limits).await;
        }
        Protocol::Http2 => {
            let connection = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(PING)
                .keep_alive_timeout(PONG)
                .max_concurrent_streams(limits.max_streams)
                .max_header_list_size(MAX_HEAD_BYTES)
                .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
                .serve_connection(io, service);
            let driven = drive(connection, limits, &end, &ending);
            ended_or_unread(driven, unread, limits).await;
        }
    }
}

/// Runs a connection until it ends, or cuts it when its client does not read an answer.
async fn ended_or_unread(driven: impl Future<Output = ()>, unread: impl Future<Output = ()>, limits: Limits) {
    tokio::select! {
        () = driven => {}
        // Its calls and all their answers go with it.
        () = unread => {
            tracing::debug!(port = limits.port, "a connection was cut because its client does not read");
        }
    }
}

/// Runs a connection to its end: its own, its age, or the port's.
async fn drive<C>(connection: C, limits: Limits, end: &End, ending: &CancellationToken)
where
    C: GracefulConnection,
    C::Error: std::fmt::Display,
{
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = time_to_end(limits, end) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            // Streams that would go on for ever learn it, too.
            ending.cancel();
            let Ok(ended) = timeout(GRACE, connection).await else { return };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(port = limits.port, %error, "a connection ended early");
    }
}

/// Waits until a connection should be asked to end.
async fn time_to_end(limits: Limits, end: &End) {
    let aged = async {
        match limits.max_age {
            // A tenth either way, so that connections made together do not end together.
            Some(age) => {
                let age = age.mul_f64(rand::random_range(0.9..1.1));
                sleep_until(Instant::now() + age).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = aged => {}
        () = end.close.cancelled() => {
            let wait = limits.spread.mul_f64(rand::random_range(0.0..1.0));
            tokio::time::sleep(wait).await;
        }
    }
}

/// The router as a service of hyper's requests.
#[derive(Clone)]
struct Service {
    router: Router,
    connection: Connection,
}

impl tower::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = futures::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let Service { router, connection } = self.clone();
        Box::pin(async move {
            let grpc = is_grpc(request.headers());
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection.clone());
            let response = overdue::answer(router, request).await;
            Ok(connection.unsent.watch(response).await.unwrap_or_else(|OutOfRoom| overdue::passed(grpc)))
        })
    }
}
