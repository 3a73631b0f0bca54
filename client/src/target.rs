//! The addresses a user writes: `dns:///host:port`, `http://host:port`, `https://host:port` or `host:port`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The data port of a cache node, where an address names none.
pub const DATA_PORT: u16 = 8080;

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A name to resolve, or an IP address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// True if TLS is to be spoken: the address begins with `https://`.
    pub tls: bool,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no address: {reason}; write dns:///host:port, https://host:port or host:port")]
pub struct AddressError {
    text: String,
    reason: &'static str,
}

impl FromStr for Target {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |reason| AddressError { text: text.to_owned(), reason };
        let rest =
            ["dns:///", "dns:", "http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let rest = rest.unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, port)) => (host, if port.is_empty() { None } else { port.strip_prefix(':') }),
            None => match rest.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.is_empty() {
            return Err(wrong("it has no host"));
        }
        if host.contains('/') {
            return Err(wrong("it has a path or an unknown scheme"));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong("its port is no number from 1 to 65535"))?,
            None => DATA_PORT,
        };
        Ok(Target { host: host.to_owned(), port, tls: text.starts_with("https://") })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_however_it_is_written() {
        for (text, shown) in [
            ("dns:///quickstart.default:8080", "quickstart.default:8080"),
            ("dns:quickstart:1", "quickstart:1"),
            ("http://127.0.0.1:9/", "127.0.0.1:9"),
            ("quickstart", "quickstart:8080"),
            ("[::1]:80", "[::1]:80"),
            ("http://[::1]", "[::1]:8080"),
            ("https://cache.shop:1/", "cache.shop:1"),
        ] {
            let target = text.parse::<Target>().unwrap();
            assert_eq!((target.to_string().as_str(), target.tls), (shown, text.starts_with("https")));
        }
        for wrong in ["", ":80", "https://", "http://a:1/b", "redis://a:1", "a:b", "a:70000"] {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
    }
}
