//! What a call may know of the connection it came by: room for its answers, and whether the connection is asked to end.

use groupcache_tls::identity::Identity;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::transport::outgoing::{Outgoing, Unsent};

/// One connection, as the calls on it see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// What it has not sent yet.
    pub(crate) unsent: Unsent,
    /// Cancelled once it is asked to end.
    pub(crate) ending: CancellationToken,
    /// Who calls, where callers show a certificate.
    pub(crate) caller: Option<Identity>,
}

impl Connection {
    /// The connection of a call. One that no listener of ours has taken has all the room it wants.
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Connection {
            unsent: Unsent::new(&Outgoing::new(u64::MAX)),
            ending: CancellationToken::new(),
            caller: None,
        })
    }
}
