//! From names to addresses: all of them, and again every few seconds, because pods come and go.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use thiserror::Error;

use crate::target::Target;

/// When the resolution of one name is given up: beyond what a resolver takes that tries a second server.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(6);

/// Says where the nodes are at the moment.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of all nodes, in any order. After an error or an empty answer the client keeps those it had.
    fn resolve(&self) -> BoxFuture<'_, Result<Vec<SocketAddr>, ResolveError>>;
}

/// Why no address is known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ResolveError(pub String);

/// Asks the system's resolver for every address of some names.
#[derive(Debug)]
pub struct Dns {
    targets: Vec<Target>,
    /// Per target, what it resolved to last: a name that fails for once does not take its nodes along.
    last: Mutex<Vec<Vec<SocketAddr>>>,
}

impl Dns {
    /// Resolves these.
    #[must_use]
    pub fn new(targets: Vec<Target>) -> Self {
        let last = Mutex::new(vec![Vec::new(); targets.len()]);
        Dns { targets, last }
    }
}

impl Resolve for Dns {
    fn resolve(&self) -> BoxFuture<'_, Result<Vec<SocketAddr>, ResolveError>> {
        Box::pin(async {
            let answers = join_all(self.targets.iter().map(look_up)).await;
            let mut last = self.last.lock();
            let mut errors = Vec::new();
            for (known, answer) in last.iter_mut().zip(answers) {
                match answer {
                    Ok(addresses) => *known = addresses,
                    Err(error) => errors.push(error),
                }
            }
            if errors.len() == self.targets.len() {
                return Err(ResolveError(errors.join("; ")));
            }
            Ok(last.iter().flatten().copied().collect())
        })
    }
}

async fn look_up(target: &Target) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host((target.host.as_str(), target.port));
    match tokio::time::timeout(LOOKUP_TIMEOUT, lookup).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(error)) => Err(format!("{target} does not resolve: {error}")),
        Err(_) => Err(format!("{target} did not resolve within {} s", LOOKUP_TIMEOUT.as_secs())),
    }
}
