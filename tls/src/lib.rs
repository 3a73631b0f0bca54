//! Who speaks on the cluster port, by which certificates of whose; and what the data port shows.
//!
//! Both ends show a certificate, both check the other's against the cluster's authorities, and the name in it says what the other may do: a node of this
//! cluster, or its operator. Addresses are not checked, because pods change theirs; a node proves that it is *a* node of this cluster.
//!
//! * [`identity`]: the name in a certificate.
//! * [`credentials`]: a certificate, its key and whom it trusts, checked before they are used.
//! * [`fingerprint`]: what certificates are known by.
//! * [`keeper`]: the credentials in use, replaced while connections run.
//! * [`handshake`]: both ends of a connection.
//! * [`signature`]: what an authority has signed besides certificates.
//! * [`shown`]: the data port, where only the server shows a certificate.
//! * [`token`]: what callers of the data port may show instead.
//! * [`authority`]: who issues certificates; only with the feature `issue`.

#[cfg(feature = "issue")]
pub mod authority;
pub mod credentials;
pub mod fingerprint;
pub mod handshake;
pub mod identity;
pub mod keeper;
pub mod shown;
pub mod signature;
pub mod token;
