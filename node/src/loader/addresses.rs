//! Where a gRPC loader lives: every address its name resolves to, each with a connection, taken in turn.
//!
//! A name is resolved at first use and again after a while or a failed connection; meanwhile, and when resolving fails, the last good addresses serve.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tonic::transport::{Channel, Endpoint};

/// How long addresses are believed: pods come and go within seconds, and a look-up is cheap.
const BELIEVED: Duration = Duration::from_secs(5);

/// When a look-up is given up.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

/// When a connection attempt is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// When a connection whose peer acknowledges nothing is given up.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Between pings: gRPC servers hang up on whoever pings more often than every five minutes.
const PING: Duration = Duration::from_secs(310);

/// Most addresses of one loader that are connected to.
const MAX_ADDRESSES: usize = 64;

/// The addresses of one loader. Cheap to clone; clones share them.
#[derive(Clone, Debug)]
pub struct Addresses {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    target: String,
    origin: Uri,
    next: AtomicUsize,
    known: Mutex<Known>,
    /// Held while looking up, so that one look-up serves all who wait.
    looking_up: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    channels: Vec<(SocketAddr, Channel)>,
    until: Option<Instant>,
}

impl Addresses {
    /// The addresses of `target`, host and port; calls carry `authority` if it is given.
    #[must_use]
    pub fn new(target: String, authority: Option<&str>) -> Self {
        let origin = format!("http://{}", authority.unwrap_or(&target)).parse().unwrap_or_default();
        let shared = Shared {
            target,
            origin,
            next: AtomicUsize::new(0),
            known: Mutex::default(),
            looking_up: tokio::sync::Mutex::default(),
        };
        Addresses { shared: Arc::new(shared) }
    }

    /// The connection whose turn it is.
    ///
    /// # Errors
    /// If nothing is known yet and the look-up fails.
    pub async fn pick(&self) -> std::io::Result<(SocketAddr, Channel)> {
        if let Some(picked) = self.shared.pick() {
            if self.shared.is_stale() && self.shared.looking_up.try_lock().is_ok() {
                // Behind the load's back: it ends within the look-up's timeout.
                let shared = Arc::clone(&self.shared);
                tokio::spawn(async move {
                    if let Err(error) = shared.look_up().await {
                        tracing::warn!(target_name = shared.target, %error, "a loader's name does not resolve; its last addresses serve on");
                    }
                });
            }
            return Ok(picked);
        }
        self.shared.look_up().await?;
        self.shared.pick().ok_or_else(|| std::io::Error::other("it resolves to no address"))
    }

    /// A connection to this address failed: forget it, and look again soon.
    pub fn failed(&self, address: SocketAddr) {
        let mut known = self.shared.known.lock();
        known.until = None;
        for (known_address, channel) in &mut known.channels {
            if *known_address == address {
                *channel = self.shared.connect(address);
            }
        }
    }
}

impl Shared {
    fn pick(&self) -> Option<(SocketAddr, Channel)> {
        let known = self.known.lock();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        known.channels.get(turn.checked_rem(known.channels.len())?).cloned()
    }

    fn is_stale(&self) -> bool {
        self.known.lock().until.is_none_or(|until| until <= Instant::now())
    }

    async fn look_up(&self) -> std::io::Result<()> {
        let _one = self.looking_up.lock().await;
        if !self.is_stale() {
            return Ok(());
        }
        let found = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(&self.target)).await;
        let found = found.unwrap_or_else(|_| Err(std::io::Error::other("looking it up took too long")));
        let mut known = self.known.lock();
        known.until = Some(Instant::now() + BELIEVED);
        let mut addresses: Vec<SocketAddr> = found?.take(MAX_ADDRESSES).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut before = std::mem::take(&mut known.channels);
        known.channels = addresses
            .into_iter()
            .map(|address| match before.iter().position(|(known, _)| *known == address) {
                Some(at) => before.swap_remove(at),
                None => (address, self.connect(address)),
            })
            .collect();
        Ok(())
    }

    /// A connection that is made when it is first used.
    fn connect(&self, address: SocketAddr) -> Channel {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let uri: Uri = format!("http://{address}").parse().unwrap_or_default();
        Endpoint::from(uri)
            .origin(self.origin.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .connect_with_connector_lazy(tcp)
    }
}
