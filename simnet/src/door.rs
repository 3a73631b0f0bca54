//! A connection without patience of its own: a call ends when the node ends it, and the judges see when that is.

use std::io;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tonic::body::Body;
use turmoil::net::TcpStream;

/// HTTP/2 to one port. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Door(SendRequest<Body>);

/// Opens a connection.
///
/// # Errors
/// If nobody listens there.
pub async fn open(host: &str, port: u16) -> io::Result<Door> {
    let stream = TcpStream::connect((host, port)).await?;
    let handshake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .handshake(TokioIo::new(stream))
        .await;
    let (door, connection) = handshake.map_err(io::Error::other)?;
    tokio::spawn(async move {
        // How it ended, its calls have learnt.
        let _ = connection.await;
    });
    Ok(Door(door))
}

impl Door {
    /// True once no call can be sent any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl tower::Service<Request<Body>> for Door {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
