//! The simulated wire at either end of the node's transport.

use std::io;

use futures::future::BoxFuture;
use groupcache_node::transport::accepting::{Accepted, Acceptor, Opening};
use groupcache_node::transport::dialing::Dialer;
use groupcache_node::transport::io::BoxedIo;
use turmoil::net::{TcpListener, TcpStream};

/// The cluster port of every node: the operator's memberships name it.
pub const CLUSTER_PORT: u16 = 1;

/// The data port of every node.
pub const DATA_PORT: u16 = 2;

/// A port of the simulated machine that it is opened on.
pub struct Port(TcpListener);

impl Port {
    /// Opens a port of this machine.
    ///
    /// # Errors
    /// If it is open already.
    pub async fn open(port: u16) -> io::Result<Self> {
        TcpListener::bind(("0.0.0.0", port)).await.map(Port)
    }
}

impl Acceptor for Port {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Opening>> {
        Box::pin(async {
            let (stream, _) = self.0.accept().await?;
            let accepted = Accepted { io: Box::new(stream), caller: None };
            Ok(Box::pin(std::future::ready(Ok(accepted))) as Opening)
        })
    }
}

/// Makes connections over the simulated network.
#[must_use]
pub fn dialer() -> Dialer {
    Dialer::new(|address| {
        let to =
            address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        Box::pin(async move {
            let (host, port): (String, u16) = to.ok_or(io::ErrorKind::InvalidInput)?;
            let stream = TcpStream::connect((host, port)).await?;
            Ok(Box::new(stream) as BoxedIo)
        })
    })
}
