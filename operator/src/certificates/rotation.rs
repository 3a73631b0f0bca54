//! How an authority replaces another while everything runs: step by step, each when every node took the last. Pure.
//!
//! 1. *Introduced*: nodes still show certificates of the old one, and trust the new one, too.
//! 2. *Replaced*: nodes show certificates of the new one, and still trust the old one.
//! 3. *Dropped*: nobody trusts the old one any more.
//!
//! At each step everybody trusts what everybody shows, although not all nodes take a step at the same time.

use std::time::{Duration, SystemTime};

use groupcache_tls::authority::Authority;
use groupcache_tls::credentials::{certificates, not_after};
use groupcache_tls::fingerprint::fingerprint;
use groupcache_tls::identity::{Identity, Role};

use crate::certificates::Fault;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long an authority of ours is valid. It is replaced when a third is left.
pub const AUTHORITY_VALID: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// How long the nodes' certificate is valid. It is renewed after a third, so that nodes last twice that without an operator.
pub const LEAF_VALID: Duration = Duration::from_secs(90 * 24 * 3600);

/// What the two Secrets hold.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Who issues certificates.
    pub signer: Authority,
    /// Who brought that one.
    pub origin: Origin,
    /// Who is to do so next: introduced, and trusted by some.
    pub next: Option<Next>,
    /// Who did so before, and is trusted until nobody shows its certificates: certificates in PEM.
    pub old: Option<String>,
    /// The last wish of the user's that was heard: the text of the annotation.
    pub rotated: String,
    /// The nodes' certificate.
    pub leaf: Leaf,
}

/// Who brought an authority, and so has its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// This operator made it.
    #[default]
    Operator,
    /// It is, or was, in a Secret of the user's.
    User,
}

/// An authority that is introduced.
#[derive(Clone, Debug)]
pub struct Next {
    /// Which.
    pub authority: Authority,
    /// Who brought it.
    pub origin: Origin,
}

/// A certificate of the nodes', with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub chain_pem: String,
    /// Its key.
    pub key_pem: String,
    /// Fingerprint of who issued it.
    pub issuer: String,
}

impl Leaf {
    /// One in the place of one that is lost: nobody issued it, so it is issued anew.
    #[must_use]
    pub fn lost(signer: &Authority) -> Self {
        let chain_pem = signer.certificate_pem().to_owned();
        Leaf { chain_pem, key_pem: String::new(), issuer: String::new() }
    }

    /// It can be read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        certificates(self.chain_pem.as_bytes(), "tls.crt").is_ok()
    }
}

impl std::fmt::Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the key.
        f.debug_struct("Leaf").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug)]
pub struct Wish<'a> {
    /// Whose certificates.
    pub cluster_uid: &'a str,
    /// The authority that the user brings; `None`: one of ours.
    pub given: Option<Authority>,
    /// The authority that is there is kept, whoever brought it.
    pub keep: bool,
    /// Any new text asks for a new authority.
    pub rotate: &'a str,
    /// The time.
    pub now: SystemTime,
}

/// One node, and what it said it shows and trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The fingerprints of its certificate and of the authorities it trusts; `None`: it has not said yet.
    pub shown: Option<(String, String)>,
}

/// What is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    Steady,
    /// A new authority, or certificate; these nodes do not use it yet.
    Changing(Vec<String>),
}

/// The next step: from what there is, or from nothing. `orphan` is what the nodes trust although its authority is lost.
///
/// # Errors
/// If no certificate can be made.
pub fn next(
    held: Option<Rotation>,
    orphan: Option<&str>,
    wish: &Wish<'_>,
    nodes: Option<&[Node]>,
) -> Result<(Rotation, Phase), Fault> {
    let mut rotation = match held {
        Some(held) => held,
        None => first(orphan, wish)?,
    };
    let waits_for = match nodes {
        Some(nodes) => rotation.step(wish, nodes)?,
        None => Vec::new(),
    };
    rotation.renew(wish)?;
    let changing = rotation.next.is_some() || rotation.old.is_some();
    Ok((rotation, if changing { Phase::Changing(waits_for) } else { Phase::Steady }))
}

fn first(orphan: Option<&str>, wish: &Wish<'_>) -> Result<Rotation, Fault> {
    let (signer, origin) = match &wish.given {
        Some(given) => (given.clone(), Origin::User),
        None => (made(wish)?, Origin::Operator),
    };
    let leaf = issued(&signer, wish)?;
    // Nodes that show its certificates are understood until they have new ones.
    let old = orphan.map(str::to_owned);
    Ok(Rotation { signer, origin, next: None, old, rotated: wish.rotate.to_owned(), leaf })
}

fn made(wish: &Wish<'_>) -> Result<Authority, Fault> {
    let name = format!("groupcache {}", wish.cluster_uid);
    Ok(Authority::generate(&name, wish.now, AUTHORITY_VALID)?)
}

fn issued(signer: &Authority, wish: &Wish<'_>) -> Result<Leaf, Fault> {
    let identity = Identity::new(wish.cluster_uid, Role::Node);
    let issued = signer.issue(&identity, wish.now, LEAF_VALID)?;
    Ok(Leaf { chain_pem: issued.chain_pem, key_pem: issued.key_pem, issuer: signer.fingerprint() })
}

impl Rotation {
    /// Whom the nodes trust, in PEM.
    #[must_use]
    pub fn bundle(&self) -> String {
        let next = self.next.as_ref().map(|next| next.authority.certificate_pem());
        let all = [Some(self.signer.certificate_pem()), next, self.old.as_deref()];
        all.into_iter().flatten().collect::<Vec<_>>().join("\n")
    }

    /// The fingerprint of whom the nodes trust.
    ///
    /// # Errors
    /// If one is no certificate.
    pub fn trust(&self) -> Result<String, Fault> {
        Ok(fingerprint(&certificates(self.bundle().as_bytes(), "ca.crt")?))
    }

    /// When the nodes' certificate runs out.
    ///
    /// # Errors
    /// If it is none.
    pub fn leaf_until(&self) -> Result<SystemTime, Fault> {
        not_after(&self.leaf_certificate()?).map_err(|nameless| Fault::Unmade(nameless.to_string()))
    }

    fn leaf_certificate(&self) -> Result<rustls::pki_types::CertificateDer<'static>, Fault> {
        Ok(certificates(self.leaf.chain_pem.as_bytes(), "tls.crt")?.swap_remove(0))
    }

    /// One step, if every node has taken the one before; else the names of those that have not.
    fn step(&mut self, wish: &Wish<'_>, nodes: &[Node]) -> Result<Vec<String>, Fault> {
        if wish.given.as_ref().map(Authority::fingerprint) == Some(self.signer.fingerprint()) {
            // Whoever made it: the user has its key.
            self.origin = Origin::User;
        }
        if self.next.is_none() && self.old.is_none() {
            self.next = self.wanted(wish)?;
            wish.rotate.clone_into(&mut self.rotated);
            return Ok(behind(nodes, |_| self.next.is_none()));
        }
        let trust = self.trust()?;
        if self.next.is_some() {
            if self.is_revoked(wish) {
                // The user has changed the Secret, or the mode, once more, before the last one was in use.
                self.next = self.wanted(wish)?;
                return Ok(behind(nodes, |_| false));
            }
            let waits_for = behind(nodes, |(_, theirs)| *theirs == trust);
            if waits_for.is_empty() {
                if let Some(next) = self.next.take() {
                    let before = std::mem::replace(&mut self.signer, next.authority);
                    self.origin = next.origin;
                    self.old = Some(before.certificate_pem().to_owned());
                }
                return Ok(behind(nodes, |_| false));
            }
            return Ok(waits_for);
        }
        let leaf = fingerprint([&self.leaf_certificate()?]);
        let new = self.leaf.issuer == self.signer.fingerprint();
        let waits_for = behind(nodes, |(shown, theirs)| new && *shown == leaf && *theirs == trust);
        if waits_for.is_empty() {
            self.old = None;
        }
        Ok(waits_for)
    }

    /// The authority that is to replace the one there is.
    fn wanted(&self, wish: &Wish<'_>) -> Result<Option<Next>, Fault> {
        if wish.keep {
            return Ok(None);
        }
        if let Some(given) = &wish.given {
            let other = given.fingerprint() != self.signer.fingerprint();
            return Ok(other.then(|| Next { authority: given.clone(), origin: Origin::User }));
        }
        let left = self.signer.not_after().duration_since(wish.now).unwrap_or_default();
        // One that the user brought is no secret of ours: its key is wherever they keep it.
        let theirs = self.origin == Origin::User;
        if !theirs && wish.rotate == self.rotated && left >= AUTHORITY_VALID / 3 {
            return Ok(None);
        }
        Ok(Some(Next { authority: made(wish)?, origin: Origin::Operator }))
    }

    /// Another authority is asked for than the one that is introduced.
    fn is_revoked(&self, wish: &Wish<'_>) -> bool {
        self.next.as_ref().is_some_and(|next| match &wish.given {
            Some(given) => given.fingerprint() != next.authority.fingerprint(),
            None => !wish.keep && next.origin == Origin::User,
        })
    }

    /// A new certificate for the nodes, where the one there is has aged, is another authority's, or was issued for another object:
    /// Secrets outlive a cluster that is deleted without its children, and one of the same name takes them over.
    fn renew(&mut self, wish: &Wish<'_>) -> Result<(), Fault> {
        let left = self.leaf_until()?.duration_since(wish.now).unwrap_or_default();
        // One of an authority that ends soon is as short as that: not renewed at every look.
        let authority_left = self.signer.not_after().duration_since(wish.now).unwrap_or_default();
        let aged = left < (LEAF_VALID * 2 / 3).min(authority_left.saturating_sub(DAY));
        let ours = Identity::new(wish.cluster_uid, Role::Node);
        let strange = Identity::of(&self.leaf_certificate()?).ok() != Some(ours);
        if aged || strange || self.leaf.issuer != self.signer.fingerprint() {
            self.leaf = issued(&self.signer, wish)?;
        }
        Ok(())
    }
}

/// The names of the nodes of which this is not known to be true.
fn behind(nodes: &[Node], is: impl Fn(&(String, String)) -> bool) -> Vec<String> {
    let behind = nodes.iter().filter(|node| !node.shown.as_ref().is_some_and(&is));
    behind.map(|node| node.name.clone()).collect()
}

#[cfg(test)]
mod tests;
