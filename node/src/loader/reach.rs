//! Where an HTTP loader may not be: link-local addresses, where clouds keep the credentials of the machine.
//!
//! Whoever may write a loader's URL could read those through the cache. Loopback and private networks are where loaders live, and stay allowed.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower::Service;

/// Amazon's metadata, outside the link-local range.
const METADATA: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254));

/// True for an address that no loader may have.
#[must_use]
pub fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local(),
        v6 @ IpAddr::V6(inner) => inner.is_unicast_link_local() || v6 == METADATA,
    }
}

/// The system's resolver without the addresses that no loader may have; what is connected to is what was checked.
#[derive(Clone, Debug)]
pub(crate) struct Resolver(GaiResolver);

impl Resolver {
    pub(crate) fn new() -> Self {
        Resolver(GaiResolver::new())
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, io::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let found = self.0.call(name.clone());
        Box::pin(async move {
            let (refused, allowed): (Vec<_>, Vec<_>) =
                found.await?.partition(|found| is_forbidden(found.ip()));
            match refused.first() {
                Some(address) if allowed.is_empty() => Err(io::Error::other(format!(
                    "{name} is the link-local address {}, where no loader may be; give it another name or address",
                    address.ip()
                ))),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_link_local_and_metadata_addresses_are_forbidden() {
        for address in
            ["169.254.169.254", "169.254.0.1", "fe80::1", "febf::1", "::ffff:169.254.1.1", "fd00:ec2::254"]
        {
            assert!(is_forbidden(address.parse().unwrap()), "{address}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "fd00::1", "8.8.8.8"] {
            assert!(!is_forbidden(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_for_a_forbidden_address_does_not_resolve() {
        // Names, for the system's resolver, of 169.254.169.254 and of 127.0.0.1.
        let error = Resolver::new().call("2852039166".parse().unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("is the link-local address 169.254.169.254"), "{error}");
        let found: Vec<_> = Resolver::new().call("2130706433".parse().unwrap()).await.unwrap().collect();
        assert_eq!(found[0].ip().to_string(), "127.0.0.1");
    }
}
