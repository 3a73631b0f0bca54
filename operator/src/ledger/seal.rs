//! Who vouches for a membership: the authority of the cluster's certificates, with its signature.

use std::fmt;

use groupcache_tls::authority::{self, Authority};

use crate::ledger::Held;

/// Who vouches for a membership.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    /// The fingerprint of the authority.
    pub signer: String,
    /// Its signature, over the bytes that are pushed and stored.
    pub signature: Vec<u8>,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("signer", &self.signer).finish_non_exhaustive()
    }
}

impl Held {
    /// The same, with the authority's word for it.
    ///
    /// # Errors
    /// If the authority's key cannot sign.
    pub fn sealed(mut self, authority: &Authority) -> Result<Self, authority::Fault> {
        let signature = authority.sign(&self.to_wire().snapshot)?;
        self.seal = Some(Seal { signer: authority.fingerprint(), signature });
        Ok(self)
    }

    /// The fingerprint of who signed it.
    #[must_use]
    pub fn signer(&self) -> Option<&str> {
        self.seal.as_ref().map(|seal| seal.signer.as_str())
    }
}

#[cfg(test)]
mod tests;
