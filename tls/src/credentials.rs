//! A certificate, its key and whom its holder trusts: read from files or memory, and checked before they are used.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::fingerprint::fingerprint;
use crate::identity::{Identity, Nameless};
use crate::signature;

/// The certificate's file, as in Secrets of the type `kubernetes.io/tls`: the leaf first.
pub const CHAIN_FILE: &str = "tls.crt";
/// The key's file.
pub const KEY_FILE: &str = "tls.key";
/// The file of the authorities that are trusted.
pub const ROOTS_FILE: &str = "ca.crt";

/// What a volume of Kubernetes' calls the folder that its files are links into: it is swapped at once.
const SWAPPED: &str = "..data";

/// gRPC's protocol, the only one that the cluster port speaks.
const PROTOCOL: &[u8] = b"h2";

/// What one side of the cluster port shows and whom it trusts.
pub struct Credentials {
    /// Who it says it is.
    pub identity: Identity,
    /// When its certificate runs out.
    pub not_after: SystemTime,
    /// Fingerprint of its certificate.
    pub leaf: String,
    /// Fingerprint of the authorities it trusts, in whatever order they stand.
    pub trust: String,
    authorities: Vec<CertificateDer<'static>>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

/// Why credentials are of no use.
#[derive(Debug, Error)]
pub enum Fault {
    /// A file is missing or cannot be read.
    #[error("{path} cannot be read: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// There is no certificate, or no PEM.
    #[error("{0} holds no PEM certificate")]
    NoCertificate(&'static str),
    /// There is no key, or no PEM.
    #[error("{KEY_FILE} holds no PEM private key")]
    NoKey,
    /// The certificate names nobody.
    #[error("the certificate in {CHAIN_FILE} does not say who it is for: {0}")]
    Nameless(#[from] Nameless),
    /// Certificate, key and authorities do not belong together, or the certificate is not valid now.
    #[error("{CHAIN_FILE}, {KEY_FILE} and {ROOTS_FILE} cannot be used together: {0}")]
    Rustls(#[from] rustls::Error),
    /// Certificate and key do not belong together, or are of a kind that is not spoken here.
    #[error("{CHAIN_FILE} and {KEY_FILE} cannot be used together: {0}")]
    Unpaired(rustls::Error),
    /// The certificate has run out.
    #[error("the certificate in {CHAIN_FILE} has run out")]
    RunOut,
    /// No authority can be used.
    #[error("{ROOTS_FILE} holds no usable authority: {0}")]
    Roots(#[from] rustls::server::VerifierBuilderError),
}

impl Credentials {
    /// Reads the three files of a folder, all of one moment where the folder is a volume of Kubernetes'.
    ///
    /// # Errors
    /// If one is missing, or they cannot be used together, or the certificate has run out.
    pub fn read(folder: &Path) -> Result<Self, Fault> {
        let [chain, key, roots] = read_files(folder, [CHAIN_FILE, KEY_FILE, ROOTS_FILE])?;
        Self::from_pem(&chain, &key, &roots)
    }

    /// Credentials from what would stand in the files.
    ///
    /// # Errors
    /// As [`Credentials::read`].
    pub fn from_pem(chain: &[u8], key: &[u8], roots: &[u8]) -> Result<Self, Fault> {
        let chain = certificates(chain, CHAIN_FILE)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Fault::NoKey)?;
        let trusted = certificates(roots, ROOTS_FILE)?;
        let identity = Identity::of(&chain[0])?;
        let not_after = not_after(&chain[0])?;

        let mut store = RootCertStore::empty();
        for root in &trusted {
            store.add(root.clone())?;
        }
        let store = Arc::new(store);
        let provider = Arc::new(provider::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&store), Arc::clone(&provider)).build()?;
        // What the others would say: better known now than by every one of them.
        verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now())?;

        Ok(Credentials {
            identity,
            not_after,
            leaf: fingerprint([&chain[0]]),
            trust: fingerprint(&trusted),
            authorities: trusted,
            server: Arc::new(server(&provider, verifier, chain.clone(), key.clone_key())?),
            client: Arc::new(client(&provider, store, chain, key)?),
        })
    }

    /// Whether an authority that is trusted, the one with this fingerprint, has signed exactly this.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, signer: &str, message: &[u8], signature: &[u8]) -> Result<(), signature::Fault> {
        signature::verify(&self.authorities, signer, message, signature)
    }

    /// How long the certificate is still valid; zero once it has run out.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.not_after.duration_since(SystemTime::now()).unwrap_or_default()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the configurations: they hold the key.
        f.debug_struct("Credentials")
            .field("identity", &self.identity)
            .field("leaf", &self.leaf)
            .field("trust", &self.trust)
            .finish_non_exhaustive()
    }
}

/// The files of a folder, all of one moment where it is a volume of Kubernetes'.
pub(crate) fn read_files<const N: usize>(folder: &Path, names: [&str; N]) -> Result<[Vec<u8>; N], Fault> {
    let folder = fs::canonicalize(folder.join(SWAPPED)).unwrap_or_else(|_| folder.to_owned());
    let mut files = names.map(|_| Vec::new());
    for (file, name) in files.iter_mut().zip(names) {
        let path = folder.join(name);
        *file = fs::read(&path).map_err(|source| Fault::File { path, source })?;
    }
    Ok(files)
}

/// The certificates of a PEM text, at least one.
///
/// # Errors
/// If there is none; `name` says where.
pub fn certificates(pem: &[u8], name: &'static str) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or(Fault::NoCertificate(name))
}

/// When a certificate runs out.
///
/// # Errors
/// If it is none.
pub fn not_after(certificate: &CertificateDer<'_>) -> Result<SystemTime, Nameless> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| Nameless::Unreadable(error.to_string()))?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or_default();
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn server(
    provider: &Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    // A session that is taken up again is not checked against the authorities of today.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
