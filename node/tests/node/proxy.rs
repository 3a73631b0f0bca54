//! What stands between two nodes in a test: it counts connections, holds them, and cuts them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

/// Connections from this one on are held: this many means none.
const NONE: usize = usize::MAX;

/// Passes bytes on, until told otherwise.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    taken: Arc<AtomicUsize>,
    held: watch::Sender<usize>,
    cut: Arc<Notify>,
}

impl Proxy {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (held, hold) = watch::channel(NONE);
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            taken: Arc::default(),
            held,
            cut: Arc::default(),
        };
        let (taken, cut) = (Arc::clone(&proxy.taken), Arc::clone(&proxy.cut));
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                let (cut, hold) = (Arc::clone(&cut), hold.clone());
                tokio::spawn(async move {
                    let far = TcpStream::connect(target).await.unwrap();
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::select! {
                        () = pass(near_in, far_out, number, hold.clone()) => {}
                        () = pass(far_in, near_out, number, hold) => {}
                        () = cut.notified() => {}
                    }
                });
            }
        });
        proxy
    }

    /// Connections that were made.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Nothing passes on connections from the one of that number on, counted from 0.
    pub(crate) fn hold_from(&self, number: usize) {
        self.held.send_replace(number);
    }

    /// Everything passes again.
    pub(crate) fn release(&self) {
        self.held.send_replace(NONE);
    }

    /// Every connection breaks.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

/// One direction of one connection.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    number: usize,
    mut hold: watch::Receiver<usize>,
) {
    let mut piece = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut piece).await {
        if hold.wait_for(|held| number < *held).await.is_err() || to.write_all(&piece[..read]).await.is_err()
        {
            return;
        }
    }
}
