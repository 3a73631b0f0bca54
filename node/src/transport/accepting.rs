//! Where connections come from. The listener does not know the wire, so that another needs no other listener.

use std::io;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_tls::identity::Identity;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use crate::transport::io::BoxedIo;

/// Silence after which the system asks whether the other end is there.
const IDLE: Duration = Duration::from_secs(20);

/// Between such questions.
const BETWEEN: Duration = Duration::from_secs(10);

/// When the system gives up a connection whose other end acknowledges nothing.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that is ready to be read.
pub struct Accepted {
    /// Its bytes.
    pub io: BoxedIo,
    /// Who is at the other end, where callers show a certificate.
    pub caller: Option<Identity>,
}

/// What is left to do before a connection can be read, a handshake say. It runs in the connection's own task, by the deadline of its first bytes.
pub type Opening = BoxFuture<'static, io::Result<Accepted>>;

/// Takes the connections of one port.
pub trait Acceptor: Send + 'static {
    /// Waits for the next connection. It must not wait for anything the other end says, and dropping it must lose no connection.
    ///
    /// # Errors
    /// If none can be taken now; it may be asked again.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Opening>>;
}

impl Acceptor for TcpListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Opening>> {
        Box::pin(async {
            let (stream, _) = TcpListener::accept(self).await?;
            if let Err(error) = tune(&stream) {
                tracing::debug!(%error, "a connection's socket could not be tuned");
            }
            let accepted = Accepted { io: Box::new(stream), caller: None };
            Ok(Box::pin(std::future::ready(Ok(accepted))) as Opening)
        })
    }
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(BETWEEN))?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
