//! Whom the client trusts at the other end of a connection, and under which name.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::ring as provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// gRPC's protocol.
const PROTOCOL: &[u8] = b"h2";

/// TLS to the nodes. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    name: Option<ServerName<'static>>,
}

/// Why TLS cannot be spoken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsError {
    /// What should hold certificates of authorities holds none of use.
    #[error("no authority to trust: {0}")]
    Authorities(String),
    /// No certificate can be for this name.
    #[error("{0:?} is no name that a certificate can be for")]
    Name(String),
    /// The nodes are called by several names, or by none.
    #[error("say which name the nodes' certificates are for: it cannot be told from {0}")]
    WhichName(String),
}

impl Tls {
    /// Trusts the authorities that the system trusts.
    ///
    /// # Errors
    /// If the system names none.
    pub fn system() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        let told = found.errors.first().map_or("the system has none".to_owned(), ToString::to_string);
        Self::trusting(roots, told)
    }

    /// Trusts the authorities of a PEM text and no others.
    ///
    /// # Errors
    /// If it holds none.
    pub fn authorities(pem: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for found in CertificateDer::pem_slice_iter(pem) {
            let certificate = found.map_err(|error| TlsError::Authorities(error.to_string()))?;
            roots.add(certificate).map_err(|error| TlsError::Authorities(error.to_string()))?;
        }
        Self::trusting(roots, "there is no PEM certificate in it".to_owned())
    }

    /// The name that the nodes' certificates must be for; unset: the host of the address.
    ///
    /// # Errors
    /// If it can be no such name.
    pub fn server_name(mut self, name: &str) -> Result<Self, TlsError> {
        let wrong = |_| TlsError::Name(name.to_owned());
        self.name = Some(ServerName::try_from(name.to_owned()).map_err(wrong)?);
        Ok(self)
    }

    fn trusting(roots: RootCertStore, none: String) -> Result<Self, TlsError> {
        if roots.is_empty() {
            return Err(TlsError::Authorities(none));
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Authorities(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Tls { config: Arc::new(config), name: None })
    }

    /// The same with a name: its own, or that of the only host.
    pub(crate) fn named<'a>(self, hosts: impl IntoIterator<Item = &'a str>) -> Result<Self, TlsError> {
        if self.name.is_some() {
            return Ok(self);
        }
        let mut hosts: Vec<&str> = hosts.into_iter().collect();
        hosts.dedup();
        match hosts[..] {
            [only] => self.server_name(only),
            _ => Err(TlsError::WhichName(format!("the addresses {hosts:?}"))),
        }
    }

    /// Connects. Set a bound on its time.
    pub(crate) async fn connect(&self, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = self.name.clone().ok_or_else(|| std::io::Error::other("the nodes have no name"))?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, tcp).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("name", &self.name).finish_non_exhaustive()
    }
}
