//! The ledger: the one membership and configuration in force, with the version that orders it. Pure but for [`store`].
//!
//! It lives in a ConfigMap that is written only over the very state that was read. Nothing is pushed that it does not hold.
//! Whoever takes over writes under a higher epoch than the ledger, the status and every node know of; so a ledger that was
//! lost or restored from an old copy catches up by itself, and a predecessor that still writes is told apart.

pub mod settle;
pub mod store;

use groupcache_proto::{cluster, convert};
use groupcache_ring::snapshot::MAX_GRANTORS;
use groupcache_ring::{Member, Snapshot, State, Version};
use prost::Message;
use thiserror::Error;

/// No operator ever counted further, neither epochs nor sequences; whoever says so is broken and is not followed.
///
/// Far below the end of the numbers, so that whatever is taken up can be counted on from.
const MAX_COUNT: u64 = i64::MAX as u64 / 2;

/// What the ledger holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The membership.
    pub snapshot: Snapshot,
    /// The groups and loaders.
    pub configuration: cluster::Configuration,
    /// The version in which members or grantors last changed.
    pub membership_since: Version,
    /// The version in which the configuration last changed.
    pub configuration_since: Version,
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
}

/// What to write over `held`; `None`: the ledger holds what it should.
///
/// # Errors
/// See [`Refused`].
pub fn next(held: Option<&Held>, wanted: Wanted, known: Known) -> Result<Option<Held>, Refused> {
    let held = held.filter(|held| held.snapshot.cluster_uid() == wanted.cluster_uid);
    let now = held.map_or(Version::PROVISIONAL, |held| held.snapshot.version());
    if let Some(written) = known.written.filter(|written| now.epoch > written.epoch) {
        return Err(Refused::Deposed { ledger: now, ours: written.epoch });
    }
    let before = held.map(|held| held.snapshot.grantors()).unwrap_or_default();
    let grantors = grantors(&wanted.members, before);
    let configuration = wanted
        .configuration
        .or_else(|| held.map(|held| held.configuration.clone()))
        .unwrap_or_else(empty_configuration);
    let settled = held.map_or(wanted.settled, |held| held.snapshot.settled().max(wanted.settled)).min(now);

    let membership_changed =
        held.is_none_or(|h| h.snapshot.members() != wanted.members || h.snapshot.grantors() != grantors);
    let configuration_changed = held.is_none_or(|h| h.configuration != configuration);
    // Told once per change of the members; a version told only for this would otherwise call for the next one.
    let newly_settled =
        held.is_some_and(|h| h.snapshot.settled() < h.membership_since && settled >= h.membership_since);
    let highest = known.highest();
    if !membership_changed && !configuration_changed && !newly_settled && highest <= now {
        return Ok(None);
    }

    let version = match known.written {
        Some(written) if highest <= now && written.epoch == now.epoch => now.next(),
        _ => highest.max(now).next_epoch(),
    };
    let snapshot =
        Snapshot::new(wanted.cluster_uid, version, settled, grantors, wanted.members).map_err(|faults| {
            Refused::Faulty(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        })?;
    Ok(Some(Held {
        snapshot,
        configuration,
        membership_since: since(membership_changed, version, held.map(|held| held.membership_since)),
        configuration_since: since(configuration_changed, version, held.map(|held| held.configuration_since)),
    }))
}

fn since(changed: bool, version: Version, before: Option<Version>) -> Version {
    if changed { version } else { before.unwrap_or(version) }
}

fn empty_configuration() -> cluster::Configuration {
    cluster::Configuration {
        staleness_bound_ms: crate::configuration::STALENESS_BOUND_MS,
        purge_timeout_ms: crate::configuration::PURGE_TIMEOUT_MS,
        ..cluster::Configuration::default()
    }
}

/// Up to seven Active members: those who are already, then the first by name. Few change when the members do.
fn grantors(members: &[Member], before: &[String]) -> Vec<String> {
    let active = |name: &&String| members.iter().any(|m| m.name == **name && m.state == State::Active);
    let mut chosen: Vec<String> = before.iter().filter(active).take(MAX_GRANTORS).cloned().collect();
    for member in members.iter().filter(|member| member.state == State::Active) {
        if chosen.len() < MAX_GRANTORS && !chosen.contains(&member.name) {
            chosen.push(member.name.clone());
        }
    }
    chosen.sort();
    chosen
}

fn is_sound(version: Version) -> bool {
    version.epoch <= MAX_COUNT && version.sequence <= MAX_COUNT
}

impl Known {
    /// The highest version that anything remembers; provisional: this cluster has no past.
    #[must_use]
    pub fn highest(&self) -> Version {
        let sound = |version: Version| if is_sound(version) { version } else { Version::PROVISIONAL };
        sound(self.status).max(sound(self.reported)).max(self.written.unwrap_or_default())
    }
}

impl Held {
    /// The version in force.
    #[must_use]
    pub fn version(&self) -> Version {
        self.snapshot.version()
    }

    /// What is pushed and stored.
    #[must_use]
    pub fn to_wire(&self) -> cluster::SignedSnapshot {
        convert::unsigned(&convert::snapshot_to_wire(&self.snapshot, self.configuration.clone()))
    }

    /// What was stored.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_stored(
        bytes: &[u8],
        membership_since: Version,
        configuration_since: Version,
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
        Ok(Held { snapshot, configuration, membership_since, configuration_since })
    }
}

#[cfg(test)]
mod tests;
