//! One connection to one node, as the settings have it.

use std::net::SocketAddr;

use hyper_util::rt::TokioIo;
use tonic::Request;
use tonic::transport::{Channel, Endpoint, Error, Uri};

use crate::config::Builder;
use crate::error::ConnectError;
use crate::target::Target;
use crate::tls::Tls;

impl Builder {
    /// The same for nodes with these addresses: with TLS if one of them asks for it, and with the name that their certificates must be for.
    ///
    /// # Errors
    /// If TLS cannot be spoken as it is asked for.
    pub fn for_targets(mut self, targets: &[Target]) -> Result<Self, ConnectError> {
        let tls = match self.tls.take() {
            None if targets.iter().any(|target| target.tls) => Some(Tls::system()?),
            tls => tls,
        };
        let hosts = targets.iter().map(|target| target.host.as_str());
        self.tls = tls.map(|tls| tls.named(hosts)).transpose()?;
        Ok(self)
    }

    /// A request with the token, if there is one.
    #[must_use]
    pub fn authorized<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            token.put_on(&mut request);
        }
        request
    }
}

/// Connects to the node at an address.
///
/// # Errors
/// If it cannot be reached, or shows no certificate that is trusted.
pub async fn dial(config: &Builder, address: SocketAddr) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(config.connect_timeout)
        .http2_keep_alive_interval(config.keepalive_every)
        .keep_alive_timeout(config.keepalive_timeout)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let Some(tls) = config.tls.clone() else { return endpoint.connect().await };
    let connector = tower::service_fn(move |_: Uri| {
        let tls = tls.clone();
        async move { tls.connect(address).await.map(TokioIo::new) }
    });
    // Asked as it is called: what stands before a node may read it.
    endpoint
        .origin(Uri::try_from(format!("https://{address}")).unwrap_or_default())
        .connect_with_connector(connector)
        .await
}
