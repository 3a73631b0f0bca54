//! The authority of a cluster: makes itself, is read back, and issues the certificates of nodes and of the operator.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SigningKey,
};
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::credentials::{certificates, not_after};
use crate::fingerprint::fingerprint;
use crate::identity::{Identity, Role, dns_name};
use crate::signature::DOMAIN;

/// Certificates are valid from this long ago, for whoever's clock is behind.
const BACKDATED: Duration = Duration::from_secs(3600);

/// An authority: its certificate and its key.
#[derive(Clone)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
    not_after: SystemTime,
    lifetime: Duration,
}

/// A certificate and its key, as they stand in files.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub chain_pem: String,
    /// Its key.
    pub key_pem: String,
}

/// Why there is no authority, or no certificate.
#[derive(Debug, Error)]
pub enum Fault {
    /// The text is no certificate, or no key.
    #[error("it holds no PEM certificate and key: {0}")]
    Unreadable(String),
    /// The certificate may issue none.
    #[error("its certificate is none of an authority: it must have basicConstraints CA:TRUE")]
    NoAuthority,
    /// The key is another's.
    #[error("its key does not belong to its certificate")]
    OtherKey,
    /// The authority has run out.
    #[error("its certificate has run out")]
    RunOut,
    /// A key or certificate could not be made.
    #[error("a certificate could not be made: {0}")]
    Made(#[from] rcgen::Error),
}

impl Authority {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// If the system has no randomness.
    pub fn generate(name: &str, now: SystemTime, valid: Duration) -> Result<Self, Fault> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = span(now, valid);
        let certificate = params.self_signed(&key)?;
        Self::from_pem(&certificate.pem(), &key.serialize_pem())
    }

    /// The authority that was written before, or that a user brings.
    ///
    /// # Errors
    /// If certificate and key are not those of an authority.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, Fault> {
        let unreadable = |error: &dyn fmt::Display| Fault::Unreadable(error.to_string());
        let chain =
            certificates(certificate_pem.as_bytes(), "tls.crt").map_err(|error| unreadable(&error))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| unreadable(&error))?;
        let certificate = chain.into_iter().next().ok_or(Fault::NoAuthority)?;
        let (_, read) = X509Certificate::from_der(&certificate).map_err(|error| unreadable(&error))?;
        if !read.is_ca() {
            return Err(Fault::NoAuthority);
        }
        if read.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Fault::OtherKey);
        }
        let not_after = not_after(&certificate).map_err(|error| unreadable(&error))?;
        let validity = read.validity();
        let seconds = validity.not_after.timestamp().saturating_sub(validity.not_before.timestamp());
        let lifetime = Duration::from_secs(seconds.try_into().unwrap_or_default());
        let (certificate_pem, key_pem) = (certificate_pem.to_owned(), key_pem.to_owned());
        Ok(Authority { certificate, certificate_pem, key_pem, not_after, lifetime })
    }

    /// Its certificate, for those who are to trust it.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its key. Whoever has it can make anybody.
    #[must_use]
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// When it runs out.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// How long it is valid from its first day to its last.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// The fingerprint of its certificate.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint([&self.certificate])
    }

    /// Signs something that is no certificate, for [`crate::signature::verify`].
    ///
    /// # Errors
    /// If its key cannot sign.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        let key = KeyPair::from_pem(&self.key_pem)?;
        Ok(key.sign(&[DOMAIN, message].concat())?)
    }

    /// A certificate for `identity`, valid for at most that long: never longer than the authority.
    ///
    /// # Errors
    /// If the authority has run out, or its key cannot sign.
    pub fn issue(&self, identity: &Identity, now: SystemTime, valid: Duration) -> Result<Issued, Fault> {
        let left = self.not_after.duration_since(now).map_err(|_| Fault::RunOut)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("groupcache {}", identity.role));
        params.subject_alt_names = vec![SanType::URI(identity.uri().try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if identity.role == Role::Node {
            params.subject_alt_names.push(SanType::DnsName(dns_name(&identity.cluster).try_into()?));
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = span(now, valid.min(left));
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, KeyPair::from_pem(&self.key_pem)?)?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(Issued { chain_pem: certificate.pem(), key_pem: key.serialize_pem() })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("Authority").field("fingerprint", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").finish_non_exhaustive()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn span(now: SystemTime, valid: Duration) -> (OffsetDateTime, OffsetDateTime) {
    ((now - BACKDATED).into(), (now + valid).into())
}
