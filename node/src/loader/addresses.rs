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

use crate::loader::reach::is_forbidden;

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

/// How long an address is passed over after a connection to it failed, while there are others.
const REST: Duration = Duration::from_secs(2);

/// What the loader may send on one call before it is read. Where an answer waits for room, so much of it lies here uncounted.
const CALL_WINDOW_BYTES: u32 = 64 << 10;

/// The largest window HTTP/2 has for a connection.
const LARGEST_WINDOW_BYTES: u32 = (1 << 31) - 1;

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
    calls: usize,
    next: AtomicUsize,
    known: Mutex<Known>,
    /// Held while looking up, so that one look-up serves all who wait.
    looking_up: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    places: Vec<Place>,
    until: Option<Instant>,
    /// Why the last look-up gave nothing.
    trouble: String,
}

/// One address, and the connection to it.
#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    channel: Channel,
    /// Passed over until then, because a connection to it failed.
    rests: Option<Instant>,
}

impl Addresses {
    /// The addresses of `target`, host and port, for so many calls at a time; calls carry `authority` if it is given.
    #[must_use]
    pub fn new(target: String, authority: Option<&str>, calls: usize) -> Self {
        let origin = format!("http://{}", authority.unwrap_or(&target)).parse().unwrap_or_default();
        let shared = Shared {
            target,
            origin,
            calls,
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
        self.shared.pick().ok_or_else(|| std::io::Error::other(self.shared.known.lock().trouble.clone()))
    }

    /// A connection to this address failed: forget it, try others first for a while, and look again soon.
    pub fn failed(&self, address: SocketAddr) {
        let mut known = self.shared.known.lock();
        known.until = None;
        for place in known.places.iter_mut().filter(|place| place.address == address) {
            let rests = Some(Instant::now() + REST);
            *place = Place { rests, ..self.shared.place(address) };
        }
    }
}

impl Shared {
    fn pick(&self) -> Option<(SocketAddr, Channel)> {
        let known = self.known.lock();
        let (now, turn) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
        let first = turn.checked_rem(known.places.len())?;
        let mut in_turn = known.places[first..].iter().chain(&known.places[..first]);
        let awake = in_turn.find(|place| place.rests.is_none_or(|until| until <= now));
        // If all of them rest, one of them may be back.
        let place = awake.unwrap_or(&known.places[first]);
        Some((place.address, place.channel.clone()))
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
        let found = found.and_then(|found| {
            let allowed = found.filter(|address| !is_forbidden(address.ip()));
            let mut addresses: Vec<SocketAddr> = allowed.take(MAX_ADDRESSES).collect();
            addresses.sort_unstable();
            addresses.dedup();
            if addresses.is_empty() {
                Err(std::io::Error::other(
                    "it has no address, or only link-local ones, where no loader may be",
                ))
            } else {
                Ok(addresses)
            }
        });
        let addresses = found.inspect_err(|error| known.trouble = error.to_string())?;
        let mut before = std::mem::take(&mut known.places);
        known.places = addresses
            .into_iter()
            .map(|address| match before.iter().position(|place| place.address == address) {
                Some(at) => before.swap_remove(at),
                None => self.place(address),
            })
            .collect();
        Ok(())
    }

    /// Enough for every call's own window: answers that wait for room must not keep those from coming that have it.
    fn window(&self) -> u32 {
        let calls = u32::try_from(self.calls).unwrap_or(u32::MAX).saturating_add(1);
        CALL_WINDOW_BYTES.saturating_mul(calls).min(LARGEST_WINDOW_BYTES)
    }

    /// An address with a connection that is made when it is first used.
    fn place(&self, address: SocketAddr) -> Place {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let uri: Uri = format!("http://{address}").parse().unwrap_or_default();
        let channel = Endpoint::from(uri)
            .origin(self.origin.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING)
            .initial_stream_window_size(CALL_WINDOW_BYTES)
            .initial_connection_window_size(self.window())
            .connect_with_connector_lazy(tcp);
        Place { address, channel, rests: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(addresses: &[&str]) -> Addresses {
        let all = Addresses::new("unused:1".into(), None, 1);
        let places = addresses.iter().map(|address| all.shared.place(address.parse().unwrap())).collect();
        let until = Some(Instant::now() + BELIEVED);
        *all.shared.known.lock() = Known { places, until, trouble: String::new() };
        all
    }

    async fn picks(all: &Addresses, count: usize) -> Vec<String> {
        let mut picked = Vec::new();
        for _ in 0..count {
            picked.push(all.pick().await.unwrap().0.to_string());
        }
        picked
    }

    #[tokio::test]
    async fn loads_are_spread_and_an_address_that_failed_is_passed_over_for_a_while() {
        tokio::time::pause();
        let all = known(&["127.0.0.1:9", "127.0.0.2:9", "127.0.0.3:9"]);
        assert_eq!(picks(&all, 4).await, ["127.0.0.1:9", "127.0.0.2:9", "127.0.0.3:9", "127.0.0.1:9"]);
        all.failed("127.0.0.2:9".parse().unwrap());
        assert!(!picks(&all, 9).await.contains(&"127.0.0.2:9".to_owned()));
        tokio::time::advance(REST).await;
        assert!(picks(&all, 3).await.contains(&"127.0.0.2:9".to_owned()));
        for address in ["127.0.0.1:9", "127.0.0.2:9", "127.0.0.3:9"] {
            all.failed(address.parse().unwrap());
        }
        assert_eq!(picks(&all, 3).await.len(), 3);
    }

    #[tokio::test]
    async fn a_name_that_does_not_resolve_keeps_its_reason_until_it_is_looked_up_again() {
        let all = Addresses::new("nothing.invalid:1".into(), None, 1);
        let first = all.pick().await.unwrap_err().to_string();
        assert_eq!(all.pick().await.unwrap_err().to_string(), first);
    }
}
