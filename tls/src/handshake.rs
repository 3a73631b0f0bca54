//! Both ends of a connection: who calls, who is called, and that both are of one cluster.

use std::io;

use rustls::ConnectionCommon;
use rustls::pki_types::InvalidDnsNameError;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::identity::{Identity, Nameless, server_name};
use crate::keeper::Keeper;

/// Why a connection is not taken, or not made.
#[derive(Debug, Error)]
pub enum Refused {
    /// The other side speaks no TLS, shows no certificate, or one that none of our authorities issued, or that has run out.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[from] io::Error),
    /// Its certificate names nobody.
    #[error("the other side's certificate does not say who it is for: {0}")]
    Nameless(#[from] Nameless),
    /// It is of another cluster, although the same authority issued its certificate.
    #[error("the other side is of the cluster {theirs}, not of {ours}")]
    OtherCluster {
        /// Ours.
        ours: String,
        /// Theirs.
        theirs: String,
    },
    /// Our own cluster has a uid that fits in no DNS name.
    #[error("the cluster's uid does not fit in a DNS name: {0}")]
    Uid(#[from] InvalidDnsNameError),
}

/// Takes a connection: its other side is who it says, and of this cluster.
///
/// Set a bound on its time: whoever is silent is waited for.
///
/// # Errors
/// See [`Refused`].
pub async fn accept<S>(keeper: &Keeper, stream: S) -> Result<(server::TlsStream<S>, Identity), Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours = keeper.current();
    let stream = TlsAcceptor::from(ours.server.clone()).accept(stream).await?;
    let theirs = same_cluster(&ours.identity, stream.get_ref().1)?;
    Ok((stream, theirs))
}

/// Makes a connection to a node of this cluster, whichever it is.
///
/// # Errors
/// See [`Refused`]. That the other side refuses *us* may show only when the connection is first read.
pub async fn connect<S>(keeper: &Keeper, stream: S) -> Result<client::TlsStream<S>, Refused>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ours = keeper.current();
    let name = server_name(&ours.identity.cluster)?;
    Ok(TlsConnector::from(ours.client.clone()).connect(name, stream).await?)
}

fn same_cluster<T>(ours: &Identity, connection: &ConnectionCommon<T>) -> Result<Identity, Refused> {
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let theirs = shown.map_or(Err(Nameless::NoName), Identity::of)?;
    if theirs.cluster != ours.cluster {
        let (ours, theirs) = (ours.cluster.to_string(), theirs.cluster.to_string());
        return Err(Refused::OtherCluster { ours, theirs });
    }
    Ok(theirs)
}
