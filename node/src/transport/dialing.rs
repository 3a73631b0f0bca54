//! How other nodes are dialed. The peers do not know the wire, so that another needs no other peers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::HttpConnector;
use tower::ServiceExt;

use crate::transport::io::BoxedIo;

/// When an attempt is given up.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// When the system gives up a connection whose other end acknowledges nothing: after two pings in vain.
const USER_TIMEOUT: Duration = Duration::from_secs(4);

type Dial = dyn Fn(&str) -> BoxFuture<'static, io::Result<BoxedIo>> + Send + Sync;

/// Makes connections, given host and port. Cheap to clone.
#[derive(Clone)]
pub struct Dialer(Arc<Dial>);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").finish_non_exhaustive()
    }
}

impl Dialer {
    /// Makes connections by `dial`, whose attempts are given up after a second.
    pub fn new(
        dial: impl Fn(&str) -> BoxFuture<'static, io::Result<BoxedIo>> + Send + Sync + 'static,
    ) -> Self {
        Dialer(Arc::new(dial))
    }

    /// Over TCP; names are looked up anew for every connection.
    #[must_use]
    pub fn tcp() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        Dialer::new(move |address| {
            let (tcp, uri) = (tcp.clone(), uri(address));
            Box::pin(async move {
                let stream = tcp.oneshot(uri).await.map_err(io::Error::other)?;
                Ok(Box::new(stream.into_inner()) as BoxedIo)
            })
        })
    }

    /// A new connection to host and port.
    pub(crate) fn dial(&self, address: &str) -> BoxFuture<'static, io::Result<BoxedIo>> {
        (self.0)(address)
    }
}

/// An address is checked when its snapshot is adopted; one that is no URL all the same just cannot be reached.
pub(crate) fn uri(address: &str) -> http::Uri {
    format!("http://{address}").parse().unwrap_or_default()
}
