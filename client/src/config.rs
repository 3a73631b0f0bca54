//! The client's settings and their defaults.

use std::fmt;
use std::time::Duration;

use crate::tls::Tls;
use crate::token::Token;

/// Attempts per call: the first, and one retry at another node after UNAVAILABLE.
pub const MAX_ATTEMPTS: u32 = 2;

/// Settings of a client. What is not set has the default that its method names.
#[derive(Clone)]
pub struct Builder {
    pub(crate) deadline: Duration,
    pub(crate) change_deadline: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) resolve_every: Duration,
    pub(crate) keepalive_every: Duration,
    pub(crate) keepalive_timeout: Duration,
    pub(crate) connections_per_node: usize,
    pub(crate) tls: Option<Tls>,
    pub(crate) token: Option<Token>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Default for Builder {
    fn default() -> Self {
        Builder {
            deadline: Duration::from_secs(5),
            change_deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            resolve_every: Duration::from_secs(5),
            // Together the time for which calls go on to a machine that has vanished: no packet tells that it has.
            keepalive_every: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(2),
            connections_per_node: 1,
            tls: None,
            token: None,
        }
    }
}

impl Builder {
    /// When a Get or GetMany is given up, retry included. Default 5 s.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// When a Set, Remove or Flush is given up, retry included. Default 10 s: where a node cannot be reached it takes up to the cluster's staleness
    /// bound (5 s unless set) and twice its purge timeout (1 s) longer.
    #[must_use]
    pub fn change_deadline(mut self, deadline: Duration) -> Self {
        self.change_deadline = deadline;
        self
    }

    /// When an attempt to connect to one node is given up, and how long a call waits while no node is connected. Default 1 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How often the addresses are resolved anew, besides whenever a connection fails. Default 5 s.
    #[must_use]
    pub fn resolve_every(mut self, period: Duration) -> Self {
        self.resolve_every = period;
        self
    }

    /// A connection on which nothing came for `every` is probed, and dropped if no answer comes within `timeout`. Default 2 s each.
    #[must_use]
    pub fn keepalive(mut self, every: Duration, timeout: Duration) -> Self {
        (self.keepalive_every, self.keepalive_timeout) = (every, timeout);
        self
    }

    /// Connections to each node, 1 to 64. A node takes 128 calls at a time on one; more wait in the client. Default 1.
    #[must_use]
    pub fn connections_per_node(mut self, connections: usize) -> Self {
        self.connections_per_node = connections.clamp(1, 64);
        self
    }

    /// TLS on every connection, whatever the addresses say. Default: where an address begins with `https://`, trusting whom the system trusts.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The token to send with each call, where the nodes ask for one. Default none.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.token = Some(token);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::{MAX_TOKENS, TOKEN_RATIO};

    #[test]
    fn the_documented_service_config_says_what_this_client_does() {
        let config: serde_json::Value = serde_json::from_str(include_str!("../service-config.json")).unwrap();
        let method = &config["methodConfig"][0];
        assert_eq!(method["retryPolicy"]["maxAttempts"], MAX_ATTEMPTS);
        assert_eq!(method["timeout"], format!("{}s", Builder::default().deadline.as_secs()));
        let change = &config["methodConfig"][1];
        assert_eq!(change["retryPolicy"], method["retryPolicy"]);
        assert_eq!(change["timeout"], format!("{}s", Builder::default().change_deadline.as_secs()));
        assert_eq!(config["retryThrottling"]["maxTokens"], MAX_TOKENS);
        assert_eq!(config["retryThrottling"]["tokenRatio"], TOKEN_RATIO);
    }
}
