//! The cluster port under certificates: who calls shows one, and who is called as well.

use std::io;

use futures::future::BoxFuture;
use groupcache_tls::handshake::{accept, connect};
use groupcache_tls::keeper::Keeper;
use tokio::net::TcpListener;

use crate::transport::accepting::{Accepted, Acceptor, Opening};
use crate::transport::dialing::Dialer;
use crate::transport::io::BoxedIo;

/// Takes TCP connections, and lets in who shows a certificate that the keeper's credentials trust at the time; everybody where there is no keeper.
pub fn acceptor(tcp: TcpListener, keeper: Option<&Keeper>) -> Box<dyn Acceptor> {
    match keeper {
        Some(keeper) => Box::new(Secured { tcp, keeper: keeper.clone() }),
        None => Box::new(tcp),
    }
}

struct Secured {
    tcp: TcpListener,
    keeper: Keeper,
}

impl Acceptor for Secured {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Opening>> {
        Box::pin(async {
            let opening = Acceptor::accept(&mut self.tcp).await?;
            let keeper = self.keeper.clone();
            let secured = async move {
                let io = opening.await?.io;
                match accept(&keeper, io).await {
                    Ok((io, caller)) => Ok(Accepted { io: Box::new(io), caller: Some(caller) }),
                    Err(refused) => {
                        tracing::debug!(%refused, "a caller of the cluster port was not let in");
                        Err(io::Error::other(refused))
                    }
                }
            };
            Ok(Box::pin(secured) as Opening)
        })
    }
}

/// Dials over TCP. With a keeper it shows this node's certificate, and talks only to nodes of its cluster.
#[must_use]
pub fn dialer(keeper: Option<&Keeper>) -> Dialer {
    let tcp = Dialer::tcp();
    let Some(keeper) = keeper.cloned() else { return tcp };
    Dialer::new(move |address| {
        let (dialing, keeper) = (tcp.dial(address), keeper.clone());
        Box::pin(async move {
            let io = connect(&keeper, dialing.await?).await.map_err(io::Error::other)?;
            Ok(Box::new(io) as BoxedIo)
        })
    })
}
