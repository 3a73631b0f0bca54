//! Addresses of pods: each once, out of a range that the command has made this machine's own.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

/// Hosts of each /24 that are given out, so that none looks like a network or a broadcast.
const HOSTS: u16 = 250;

/// Gives out addresses of 10.250.0.0/16.
#[derive(Debug, Default)]
pub(crate) struct Addresses(AtomicU16);

impl Addresses {
    /// One that was not given out before.
    pub(crate) fn next(&self) -> Ipv4Addr {
        nth(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn nth(number: u16) -> Ipv4Addr {
    let [_, network] = (number / HOSTS).to_be_bytes();
    let [_, host] = (number % HOSTS + 1).to_be_bytes();
    Ipv4Addr::new(10, 250, network, host)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_pods_share_an_address() {
        let all: BTreeSet<Ipv4Addr> = (0..10_000).map(nth).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().all(|address| (1..=250).contains(&address.octets()[3])));
    }
}
