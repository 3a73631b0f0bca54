//! The data port under TLS: the node shows a certificate, and everybody may knock.

use std::io;

use futures::future::BoxFuture;
use groupcache_tls::keeper::Keeper;
use groupcache_tls::shown::{Shown, accept};
use tokio::net::TcpListener;

use crate::transport::accepting::{Accepted, Acceptor, Opening};

/// Takes TCP connections, and speaks TLS only on them; plain ones where there is no keeper.
pub fn acceptor(tcp: TcpListener, keeper: Option<&Keeper<Shown>>) -> Box<dyn Acceptor> {
    match keeper {
        Some(keeper) => Box::new(Encrypted { tcp, keeper: keeper.clone() }),
        None => Box::new(tcp),
    }
}

struct Encrypted {
    tcp: TcpListener,
    keeper: Keeper<Shown>,
}

impl Acceptor for Encrypted {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Opening>> {
        Box::pin(async {
            let opening = Acceptor::accept(&mut self.tcp).await?;
            let keeper = self.keeper.clone();
            let encrypted = async move {
                match accept(&keeper, opening.await?.io).await {
                    Ok(io) => Ok(Accepted { io: Box::new(io), caller: None }),
                    Err(error) => {
                        tracing::debug!(%error, "a caller of the data port was not let in");
                        Err(error)
                    }
                }
            };
            Ok(Box::pin(encrypted) as Opening)
        })
    }
}
