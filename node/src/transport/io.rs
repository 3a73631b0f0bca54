//! A connection as the transport sees it: bytes both ways, over whatever wire.

use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// A connection over any wire. Calling it through a table costs nothing beside the system call that it comes to.
pub type BoxedIo = Box<dyn Io>;
