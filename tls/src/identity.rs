//! The name in a certificate: of which cluster its holder is, and in which role.
//!
//! It is a URI, `spiffe://groupcache.dev/cluster/<uid>/<role>`, in the form of SPIFFE's ids (spiffe.io, "SPIFFE-ID", 2), so that tools that know those can
//! read it. Beside it a node's certificate has a DNS name of the cluster, because that is what the other end of TLS asks for; nobody resolves it.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

const PREFIX: &str = "spiffe://groupcache.dev/cluster/";

/// What the holder of a certificate may do on the cluster port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Fetch, peek, purge, beat and all else that nodes do with each other.
    Node,
    /// Push memberships.
    Operator,
}

impl Role {
    const fn as_str(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Of which cluster, and in which role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The uid of the cluster's object.
    pub cluster: Arc<str>,
    /// What its holder may do.
    pub role: Role,
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Nameless {
    /// It is no certificate.
    #[error("it cannot be read as an X.509 certificate: {0}")]
    Unreadable(String),
    /// No URI of ours is among its names.
    #[error("none of its URI names is {PREFIX}<cluster uid>/node or {PREFIX}<cluster uid>/operator")]
    NoName,
    /// More than one is: what its holder may do would depend on which is read.
    #[error("it has several names that begin with {PREFIX}; it must have one")]
    SeveralNames,
}

impl Identity {
    /// An identity.
    #[must_use]
    pub fn new(cluster: &str, role: Role) -> Self {
        Identity { cluster: cluster.into(), role }
    }

    /// The name of a certificate.
    ///
    /// # Errors
    /// If it has not exactly one of ours.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Nameless> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| Nameless::Unreadable(error.to_string()))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| Nameless::Unreadable(error.to_string()))?
            .map(|extension| extension.value.general_names.as_slice())
            .unwrap_or_default();
        let mut ours = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) if uri.starts_with(PREFIX) => Some(*uri),
            _ => None,
        });
        match (ours.next(), ours.next()) {
            (Some(uri), None) => Self::parse(uri).ok_or(Nameless::NoName),
            (Some(_), Some(_)) => Err(Nameless::SeveralNames),
            (None, _) => Err(Nameless::NoName),
        }
    }

    /// The URI of this identity.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{PREFIX}{}/{}", self.cluster, self.role)
    }

    fn parse(uri: &str) -> Option<Self> {
        let (cluster, role) = uri.strip_prefix(PREFIX)?.split_once('/')?;
        let role = [Role::Node, Role::Operator].into_iter().find(|known| known.as_str() == role)?;
        (!cluster.is_empty()).then(|| Identity::new(cluster, role))
    }
}

/// The DNS name that the certificates of this cluster's nodes have, and that callers ask for.
///
/// # Errors
/// If the uid does not fit into a DNS name.
pub fn server_name(cluster: &str) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    ServerName::try_from(dns_name(cluster))
}

pub(crate) fn dns_name(cluster: &str) -> String {
    // `.internal` is for private use and is never delegated (ICANN, 2024).
    format!("node.{cluster}.groupcache.internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_is_written() {
        let identity = Identity::new("0b9d4c6e-6f3c-4a7e-9f43-1a2b3c4d5e6f", Role::Operator);
        assert_eq!(Identity::parse(&identity.uri()), Some(identity));
    }

    #[test]
    fn what_only_looks_like_a_name_is_none() {
        for uri in [
            "spiffe://groupcache.dev/cluster/u",
            "spiffe://groupcache.dev/cluster//node",
            "spiffe://groupcache.dev/cluster/u/node/operator",
            "spiffe://groupcache.dev/cluster/u/Node",
            "spiffe://elsewhere.dev/cluster/u/node",
        ] {
            assert_eq!(Identity::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn garbage_is_no_certificate() {
        let garbage = CertificateDer::from(b"garbage".to_vec());
        assert!(matches!(Identity::of(&garbage), Err(Nameless::Unreadable(_))));
    }
}
