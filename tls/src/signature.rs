//! What an authority has signed besides certificates: the memberships that nodes pass on to each other.

use rustls::crypto::ring as provider;
use rustls::pki_types::CertificateDer;
use thiserror::Error;
use webpki::EndEntityCert;

use crate::fingerprint::fingerprint;

/// Stands before what is signed, so that a signature of one thing is none of another: no certificate begins like this.
pub(crate) const DOMAIN: &[u8] = b"groupcache membership\n";

/// Why something does not count as signed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// There is no signature.
    #[error("it is not signed")]
    Missing,
    /// Somebody signed it who is not trusted.
    #[error("it is signed by {0}, which is none of the authorities that this node trusts")]
    Stranger(String),
    /// The signature is of something else.
    #[error("its signature does not fit it")]
    Wrong,
}

/// True if one of these authorities, the one with this fingerprint, has signed exactly this.
///
/// # Errors
/// See [`Fault`].
pub fn verify(
    authorities: &[CertificateDer<'_>],
    signer: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), Fault> {
    if signature.is_empty() {
        return Err(Fault::Missing);
    }
    let found = authorities.iter().find(|authority| fingerprint([*authority]) == signer);
    let authority = found.ok_or_else(|| Fault::Stranger(clipped(signer)))?;
    let key = EndEntityCert::try_from(authority).map_err(|_| Fault::Wrong)?;
    let signed = [DOMAIN, message].concat();
    let fits = |algorithm| key.verify_signature(algorithm, &signed, signature).is_ok();
    let algorithms = provider::default_provider().signature_verification_algorithms.all;
    if algorithms.iter().any(|algorithm| fits(*algorithm)) { Ok(()) } else { Err(Fault::Wrong) }
}

/// Whoever sends it may write there what he likes.
fn clipped(signer: &str) -> String {
    signer.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::authority::Authority;

    fn authority(name: &str) -> (Authority, CertificateDer<'static>) {
        let authority =
            Authority::generate(name, SystemTime::now(), Duration::from_secs(60)).expect("an authority");
        let der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes());
        (authority, der.expect("a certificate"))
    }

    #[test]
    fn only_what_a_trusted_authority_signed_counts_and_only_as_it_was() {
        let ((ours, ours_der), (other, other_der)) = (authority("ours"), authority("other"));
        let signature = ours.sign(b"a ring").expect("a signature");
        let judge = |trusted: &[CertificateDer<'_>], signer: &Authority, message: &[u8], signature: &[u8]| {
            verify(trusted, &signer.fingerprint(), message, signature)
        };
        let both = [other_der.clone(), ours_der.clone()];
        assert_eq!(judge(&both, &ours, b"a ring", &signature), Ok(()));
        assert_eq!(judge(&both, &ours, b"a ring", b""), Err(Fault::Missing));
        assert_eq!(judge(&both, &ours, b"another ring", &signature), Err(Fault::Wrong));
        assert_eq!(
            judge(&both, &other, b"a ring", &signature),
            Err(Fault::Wrong),
            "signed by the one, said to be by the other"
        );
        assert_eq!(
            judge(&[other_der], &ours, b"a ring", &signature),
            Err(Fault::Stranger(ours.fingerprint()))
        );
        let forged = other.sign(b"a ring").expect("a signature");
        assert_eq!(judge(&[ours_der], &ours, b"a ring", &forged), Err(Fault::Wrong));
    }
}
