//! The ledger: the one membership and configuration in force, with the version that orders it. Pure but for [`store`].
//!
//! It lives in a ConfigMap that is written only over the very state that was read. Nothing is pushed that it does not hold.
//! Whoever takes over writes under a higher epoch than the ledger, the status and every node know of; so a ledger that was
//! lost or restored from an old copy catches up by itself, and a predecessor that still writes is told apart.

pub mod chain;
pub mod grantors;
pub mod seal;
pub mod settle;
pub mod store;

use std::time::Duration;

use groupcache_proto::{cluster, convert};
use groupcache_ring::prior::MAX_PRIORS;
use groupcache_ring::{Member, Prior, Snapshot, Version};
use prost::Message;
use thiserror::Error;

use crate::configuration::{PURGE_TIMEOUT_MS, STALENESS_BOUND_MS};
use crate::ledger::seal::Seal;

/// No operator ever counted further, neither epochs nor sequences; whoever says so is broken and is not followed.
///
/// Far below the end of the numbers, so that whatever is taken up can be counted on from.
const MAX_COUNT: u64 = i64::MAX as u64 / 2;
/// Whoever says a higher one is not believed. What is written is above all that is believed, and must be sound when it is read again.
const MAX_HEARD: u64 = MAX_COUNT / 2;

/// What the ledger holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The membership.
    pub snapshot: Snapshot,
    /// The groups and loaders.
    pub configuration: cluster::Configuration,
    /// The version since which everyone is bound to the same: the same pods in the same states, the same grantors.
    pub membership_since: Version,
    /// The version in which the configuration last changed.
    pub configuration_since: Version,
    /// The longest staleness bound of any version since the settled one: a grant by one of these may run for as long.
    pub longest_bound: Duration,
    /// Who vouches for it; `None`: nobody yet, or the cluster port is open.
    pub seal: Option<Seal>,
}

/// What the ledger should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// The uid of the CacheCluster.
    pub cluster_uid: String,
    /// The members.
    pub members: Vec<Member>,
    /// The groups and loaders; `None`: they are faulty, and what is in force stays in force.
    pub configuration: Option<cluster::Configuration>,
    /// The newest version that is settled.
    pub settled: Version,
    /// Who signs what is written, by fingerprint; `None`: nobody.
    pub signer: Option<String>,
}

/// What else is known about versions, so that a new one is above all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The version in the object's status.
    pub status: Version,
    /// The highest version that a node reports.
    pub reported: Version,
    /// The version that this process wrote last for this cluster.
    pub written: Option<Version>,
}

/// Why nothing may be written.
#[derive(Debug, Error)]
pub enum Refused {
    /// Another operator has taken over.
    #[error(
        "the ledger is at {ledger}, above epoch {ours} that this operator writes: another one has taken over"
    )]
    Deposed {
        /// What the ledger holds.
        ledger: Version,
        /// The epoch of this process.
        ours: u64,
    },
    /// The members cannot stand in one snapshot.
    #[error("the membership is faulty: {0}")]
    Faulty(String),
    /// The authority's key cannot sign.
    #[error("the membership could not be signed: {0}")]
    Unsigned(String),
}

/// What to write over `held`; `None`: the ledger holds what it should.
///
/// # Errors
/// See [`Refused`].
pub fn next(held: Option<&Held>, wanted: Wanted, known: Known) -> Result<Option<Held>, Refused> {
    let held = held.filter(|held| held.snapshot.cluster_uid() == wanted.cluster_uid);
    let now = held.map_or(Version::PROVISIONAL, Held::version);
    if let Some(written) = known.written.filter(|written| now.epoch > written.epoch) {
        return Err(Refused::Deposed { ledger: now, ours: written.epoch });
    }
    let highest = known.highest();
    let (cluster_uid, signer) = (wanted.cluster_uid.clone(), wanted.signer.clone());
    let settled =
        held.map_or(Version::PROVISIONAL, |held| held.snapshot.settled().max(wanted.settled)).min(now);
    let draft = Draft::new(held, wanted, settled);

    let members_changed =
        held.is_none_or(|h| h.snapshot.members() != draft.members || h.snapshot.grantors() != draft.grantors);
    let configuration_changed = held.is_none_or(|h| h.configuration != draft.configuration);
    // What is settled is the first version of a membership: one published only to tell of it calls for no other.
    let newly_settled = held.is_some_and(|h| h.snapshot.settled() < settled);
    // A new version, and not the same one signed by another: nodes keep what they have adopted, signature and all.
    let signer_changed = signer.is_some() && held.is_some_and(|held| held.signer() != signer.as_deref());
    if !members_changed && !configuration_changed && !newly_settled && !signer_changed && highest <= now {
        return Ok(None);
    }

    let version = match known.written {
        Some(written) if highest <= now && written.epoch == now.epoch => now.next(),
        _ => highest.max(now).next_epoch(),
    };
    // Nobody was there before the first version of a cluster without a past.
    let settled = if held.is_none() && highest == Version::PROVISIONAL { version } else { settled };
    let snapshot = Snapshot::new(cluster_uid, version, settled, draft.grantors, draft.members)
        .and_then(|snapshot| snapshot.with_priors(draft.priors))
        .map_err(|faults| {
            Refused::Faulty(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
    Ok(Some(Held {
        snapshot,
        configuration: draft.configuration,
        membership_since: held.filter(|_| draft.same).map_or(version, |held| held.membership_since),
        configuration_since: held
            .filter(|_| !configuration_changed)
            .map_or(version, |h| h.configuration_since),
        longest_bound: draft.longest_bound,
        seal: None,
    }))
}

/// The content of a version that has no number yet.
struct Draft {
    members: Vec<Member>,
    grantors: Vec<String>,
    configuration: cluster::Configuration,
    /// It binds everyone as the version before.
    same: bool,
    priors: Vec<Prior>,
    longest_bound: Duration,
}

impl Draft {
    fn new(held: Option<&Held>, wanted: Wanted, settled: Version) -> Draft {
        let configuration = wanted
            .configuration
            .or_else(|| held.map(|held| held.configuration.clone()))
            .unwrap_or_else(empty_configuration);
        let grantors = grantors::choose(&wanted.members, held.map(|held| &held.snapshot));
        let Some(held) = held else {
            let (longest_bound, members) = (bound_of(&configuration), wanted.members);
            return Draft {
                members,
                grantors,
                configuration,
                same: false,
                priors: Vec::new(),
                longest_bound,
            };
        };
        let draft = Draft::after(held, wanted.members, grantors, configuration, settled);
        if draft.priors.len() <= MAX_PRIORS {
            return draft;
        }
        // One more membership than a snapshot may name: the ring stands still until something settles, the configuration goes on.
        let (members, grantors) = (held.snapshot.members().to_vec(), held.snapshot.grantors().to_vec());
        let shorter = bound_of(&draft.configuration) < held.bound();
        let configuration = if shorter { held.configuration.clone() } else { draft.configuration };
        Draft::after(held, members, grantors, configuration, settled)
    }

    fn after(
        held: &Held,
        members: Vec<Member>,
        grantors: Vec<String>,
        configuration: cluster::Configuration,
        settled: Version,
    ) -> Draft {
        let bound = bound_of(&configuration);
        let same = chain::binds_alike(held, &members, &grantors, bound);
        let priors = chain::priors(held, settled, same);
        let longest_bound = if priors.is_empty() { bound } else { bound.max(held.longest_bound) };
        Draft { members, grantors, configuration, same, priors, longest_bound }
    }
}

fn empty_configuration() -> cluster::Configuration {
    cluster::Configuration {
        staleness_bound_ms: STALENESS_BOUND_MS,
        purge_timeout_ms: PURGE_TIMEOUT_MS,
        ..cluster::Configuration::default()
    }
}

fn bound_of(configuration: &cluster::Configuration) -> Duration {
    match configuration.staleness_bound_ms {
        0 => Duration::from_millis(STALENESS_BOUND_MS),
        bound => Duration::from_millis(bound),
    }
}

fn is_sound(version: Version) -> bool {
    version.epoch <= MAX_COUNT && version.sequence <= MAX_COUNT
}

impl Known {
    /// The highest version that anything remembers; provisional: this cluster has no past.
    #[must_use]
    pub fn highest(&self) -> Version {
        let heard = |version: Version| {
            let believed = version.epoch <= MAX_HEARD && version.sequence <= MAX_HEARD;
            if believed { version } else { Version::PROVISIONAL }
        };
        heard(self.status).max(heard(self.reported)).max(self.written.unwrap_or_default())
    }
}

impl Held {
    /// The version in force.
    #[must_use]
    pub fn version(&self) -> Version {
        self.snapshot.version()
    }

    /// The staleness bound in force.
    #[must_use]
    pub fn bound(&self) -> Duration {
        bound_of(&self.configuration)
    }

    /// True if no other membership can follow before something settles: the snapshot could not name all that bind.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        chain::priors(self, self.snapshot.settled(), false).len() > MAX_PRIORS
    }

    /// What is pushed and stored.
    #[must_use]
    pub fn to_wire(&self) -> cluster::SignedSnapshot {
        let mut signed =
            convert::unsigned(&convert::snapshot_to_wire(&self.snapshot, self.configuration.clone()));
        if let Some(seal) = &self.seal {
            signed.signature = seal.signature.clone().into();
            signed.key_id.clone_from(&seal.signer);
        }
        signed
    }

    /// What was stored.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_stored(
        bytes: &[u8],
        membership_since: Version,
        configuration_since: Version,
        longest_bound: Option<Duration>,
    ) -> Result<Self, String> {
        let signed = cluster::SignedSnapshot::decode(bytes).map_err(|error| error.to_string())?;
        let wire = convert::open(&signed).map_err(|error| error.to_string())?;
        let snapshot = convert::membership(&wire)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        let version = snapshot.version();
        if !is_sound(version) {
            return Err(format!("no operator ever wrote the version {version}"));
        }
        // What has not happened yet would be waited for for ever.
        if let Some(since) =
            [membership_since, configuration_since].into_iter().find(|since| *since > version)
        {
            return Err(format!("it is at {version} and speaks of {since}"));
        }
        let configuration = wire.configuration.unwrap_or_default();
        let longest_bound = bound_of(&configuration).max(longest_bound.unwrap_or_default());
        let seal = (!signed.key_id.is_empty())
            .then(|| Seal { signer: signed.key_id.clone(), signature: signed.signature.to_vec() });
        let mut held =
            Held { snapshot, configuration, membership_since, configuration_since, longest_bound, seal };
        // Written by another release, which put the same into other bytes: its signature is of those.
        if held.to_wire().snapshot != signed.snapshot {
            held.seal = None;
        }
        Ok(held)
    }
}

#[cfg(test)]
mod tests;
