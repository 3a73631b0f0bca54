//! What a port shows to whoever calls: a certificate and its key, and no certificate is asked of the caller.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::crypto::ring as provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, server};

use crate::credentials::{CHAIN_FILE, Fault, KEY_FILE, certificates, not_after, read_files};
use crate::fingerprint::fingerprint;
use crate::keeper::{Keeper, Kept};

/// What the port speaks within: HTTP/2, or else HTTP/1.1.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Most bytes of one connection that are encrypted and not sent yet: two records. What the client does not read waits before, where it is counted.
const UNSENT_BYTES: usize = 32 << 10;

/// A certificate and its key, for a port that everybody may call.
pub struct Shown {
    /// When the certificate runs out.
    pub not_after: SystemTime,
    /// Fingerprint of the certificate and of those it came with.
    pub chain: String,
    config: Arc<ServerConfig>,
}

impl Shown {
    /// What would stand in `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// If they are no certificate and key, do not belong together, or the certificate has run out.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Fault> {
        let chain = certificates(chain, CHAIN_FILE)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Fault::NoKey)?;
        let not_after = not_after(&chain[0])?;
        if not_after <= SystemTime::now() {
            return Err(Fault::RunOut);
        }
        let fingerprint = fingerprint(&chain);
        // Clients are of any language and age: TLS 1.2 is taken, too, with the suites of today only.
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Fault::Unpaired)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(Fault::Unpaired)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
        Ok(Shown { not_after, chain: fingerprint, config: Arc::new(config) })
    }
}

impl Kept for Shown {
    fn read(folder: &Path) -> Result<Self, Fault> {
        let [chain, key] = read_files(folder, [CHAIN_FILE, KEY_FILE])?;
        Self::from_pem(&chain, &key)
    }

    fn fingerprint(&self) -> String {
        self.chain.clone()
    }

    fn remaining(&self) -> Duration {
        self.not_after.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the configuration: it holds the key.
        f.debug_struct("Shown").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Takes a connection of anybody's.
///
/// Set a bound on its time: whoever is silent is waited for.
///
/// # Errors
/// If the other side speaks no TLS, or none of the versions, suites and protocols here.
pub async fn accept<S>(keeper: &Keeper<Shown>, stream: S) -> std::io::Result<server::TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = Arc::clone(&keeper.current().config);
    let bounded = |connection: &mut rustls::ServerConnection| connection.set_buffer_limit(Some(UNSENT_BYTES));
    TlsAcceptor::from(config).accept_with(stream, bounded).await
}
