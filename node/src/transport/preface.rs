//! The first bytes of a connection: they say which HTTP it speaks, and whoever sends none in time is a burden.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::transport::io::BoxedIo;

/// What every HTTP/2 connection begins with.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Which HTTP a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Anything that does not begin as HTTP/2 does.
    Http1,
    /// HTTP/2 without negotiation, as gRPC speaks it.
    Http2,
}

/// A connection whose first bytes were looked at; whoever reads it sees them again.
pub(crate) struct Opened {
    first: BytesMut,
    stream: BoxedIo,
}

/// Reads just enough to tell the protocol. An end before the first byte is an error.
pub(crate) async fn open(mut stream: BoxedIo) -> io::Result<(Protocol, Opened)> {
    let mut first = BytesMut::with_capacity(HTTP2.len());
    while first.len() < HTTP2.len() {
        let room = HTTP2.len() - first.len();
        let mut chunk = [0; HTTP2.len()];
        let read = stream.read(&mut chunk[..room]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        first.extend_from_slice(&chunk[..read]);
        if first[..] != HTTP2[..first.len()] {
            return Ok((Protocol::Http1, Opened { first, stream }));
        }
    }
    Ok((Protocol::Http2, Opened { first, stream }))
}

impl AsyncRead for Opened {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first[..count]);
            self.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opened {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
