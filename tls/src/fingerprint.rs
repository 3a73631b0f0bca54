//! A short name for one certificate or several, by their content.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// The fingerprint of some certificates, in whatever order: SHA-256 over their sorted SHA-256s, its first 16 bytes in hexadecimal.
pub fn fingerprint<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    let mut each: Vec<_> = certificates.into_iter().map(Sha256::digest).collect();
    each.sort();
    each.dedup();
    let whole = each.iter().fold(Sha256::new(), Sha256::chain_update).finalize();
    whole[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}
