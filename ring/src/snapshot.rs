//! A whole membership at one version, checked when it is made.

use std::collections::HashMap;

use thiserror::Error;

use crate::member::{MAX_NAME_BYTES, Member, State};
use crate::prior::{MAX_PRIORS, Prior};
use crate::version::Version;

/// Most members of one cluster: what a full snapshot to every node can carry without a thought.
pub const MAX_MEMBERS: usize = 1024;

/// Most grantors of one snapshot.
pub const MAX_GRANTORS: usize = 7;

/// One thing that is wrong with a membership.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// No cluster uid.
    #[error("the cluster uid is empty")]
    NoClusterUid,
    /// The version is the provisional one, which nobody publishes.
    #[error("the version is {0}; a published version has an epoch and a sequence of at least 1")]
    Unpublished(Version),
    /// What is said to be settled is newer than the snapshot itself.
    #[error("the settled version {settled} is newer than the snapshot's own version {version}")]
    SettledAhead {
        /// The settled version.
        settled: Version,
        /// The snapshot's version.
        version: Version,
    },
    /// More members than a cluster may have.
    #[error("{0} members; at most {MAX_MEMBERS} are allowed")]
    TooManyMembers(usize),
    /// A name that cannot be a pod's.
    #[error("member {at} has the name {name:?}; a name is 1 to {MAX_NAME_BYTES} of [a-z0-9.-]")]
    BadName {
        /// Place in the list.
        at: usize,
        /// The name.
        name: String,
    },
    /// An address without host or port.
    #[error("member {name} has the address {address:?}; an address is host:port")]
    BadAddress {
        /// The member.
        name: String,
        /// Its address.
        address: String,
    },
    /// One name twice.
    #[error("the name {0} stands twice; a name is one member's identity in the ring")]
    DuplicateName(String),
    /// One address twice.
    #[error("the address {address} is both {first}'s and {second}'s")]
    DuplicateAddress {
        /// The address.
        address: String,
        /// Who has it first.
        first: String,
        /// Who has it again.
        second: String,
    },
    /// More grantors than allowed.
    #[error("{0} grantors; at most {MAX_GRANTORS} are allowed")]
    TooManyGrantors(usize),
    /// A grantor that is no Active member.
    #[error("the grantor {0} is not an Active member")]
    BadGrantor(String),
    /// More earlier memberships than a snapshot may name.
    #[error("{0} earlier memberships; at most {MAX_PRIORS} are allowed")]
    TooManyPriors(usize),
    /// Earlier memberships that are not in order between the settled version and this one.
    #[error("the earlier membership {0} is not in order between the settled version and this one")]
    BadPrior(Version),
}

/// Everyone in the cluster at one version. Cannot be made with a fault in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    cluster_uid: String,
    version: Version,
    settled: Version,
    grantors: Vec<String>,
    members: Vec<Member>,
    priors: Vec<Prior>,
}

impl Snapshot {
    /// A checked snapshot.
    ///
    /// # Errors
    /// Every [`Fault`] found, never just the first.
    pub fn new(
        cluster_uid: impl Into<String>,
        version: Version,
        settled: Version,
        grantors: Vec<String>,
        members: Vec<Member>,
    ) -> Result<Self, Vec<Fault>> {
        let cluster_uid = cluster_uid.into();
        let snapshot = Snapshot { cluster_uid, version, settled, grantors, members, priors: Vec::new() };
        let mut faults = Vec::new();
        snapshot.check_header(&mut faults);
        snapshot.check_members(&mut faults);
        snapshot.check_grantors(&mut faults);
        if faults.is_empty() { Ok(snapshot) } else { Err(faults) }
    }

    /// The same membership with the earlier ones that still bind: those from the settled one on, oldest first. One that binds no more than its
    /// successor may be left out.
    ///
    /// # Errors
    /// Every [`Fault`] of theirs.
    pub fn with_priors(self, priors: Vec<Prior>) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        if priors.len() > MAX_PRIORS {
            faults.push(Fault::TooManyPriors(priors.len()));
        }
        let mut before = None;
        for prior in &priors {
            let in_order = before.is_none_or(|before| before < prior.version);
            if !in_order || prior.version < self.settled || prior.version >= self.version {
                faults.push(Fault::BadPrior(prior.version));
            }
            if prior.grantors.len() > MAX_GRANTORS {
                faults.push(Fault::TooManyGrantors(prior.grantors.len()));
            }
            if prior.members.len() > MAX_MEMBERS {
                faults.push(Fault::TooManyMembers(prior.members.len()));
            }
            before = Some(prior.version);
        }
        if faults.is_empty() { Ok(Snapshot { priors, ..self }) } else { Err(faults) }
    }

    fn check_header(&self, faults: &mut Vec<Fault>) {
        if self.cluster_uid.is_empty() {
            faults.push(Fault::NoClusterUid);
        }
        if self.version.epoch == 0 || self.version.sequence == 0 {
            faults.push(Fault::Unpublished(self.version));
        }
        if self.settled > self.version {
            faults.push(Fault::SettledAhead { settled: self.settled, version: self.version });
        }
    }

    fn check_members(&self, faults: &mut Vec<Fault>) {
        if self.members.len() > MAX_MEMBERS {
            faults.push(Fault::TooManyMembers(self.members.len()));
        }
        let mut names = HashMap::new();
        let mut addresses: HashMap<&str, &str> = HashMap::new();
        for (at, member) in self.members.iter().enumerate() {
            if !is_name(&member.name) {
                faults.push(Fault::BadName { at, name: member.name.clone() });
            }
            if names.insert(member.name.as_str(), at).is_some() {
                faults.push(Fault::DuplicateName(member.name.clone()));
            }
            if !is_address(&member.address) {
                faults.push(Fault::BadAddress { name: member.name.clone(), address: member.address.clone() });
            }
            if let Some(first) = addresses.insert(&member.address, &member.name) {
                faults.push(Fault::DuplicateAddress {
                    address: member.address.clone(),
                    first: first.to_owned(),
                    second: member.name.clone(),
                });
            }
        }
    }

    fn check_grantors(&self, faults: &mut Vec<Fault>) {
        if self.grantors.len() > MAX_GRANTORS {
            faults.push(Fault::TooManyGrantors(self.grantors.len()));
        }
        for grantor in &self.grantors {
            if self.member(grantor).is_none_or(|member| member.state != State::Active) {
                faults.push(Fault::BadGrantor(grantor.clone()));
            }
        }
    }

    /// The uid of the cluster this is the membership of.
    #[must_use]
    pub fn cluster_uid(&self) -> &str {
        &self.cluster_uid
    }

    /// The version of this membership.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The newest version known to be settled.
    #[must_use]
    pub fn settled(&self) -> Version {
        self.settled
    }

    /// Who grants the right to serve copies.
    #[must_use]
    pub fn grantors(&self) -> &[String] {
        &self.grantors
    }

    /// Earlier memberships that still bind, oldest first.
    #[must_use]
    pub fn priors(&self) -> &[Prior] {
        &self.priors
    }

    /// This membership as those after it see it.
    #[must_use]
    pub fn as_prior(&self) -> Prior {
        Prior { version: self.version, grantors: self.grantors.clone(), members: self.members.clone() }
    }

    /// Everyone.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member of that name.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ' ']) && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of(members: Vec<Member>) -> Result<Snapshot, Vec<Fault>> {
        Snapshot::new("uid", Version::new(1, 1), Version::PROVISIONAL, Vec::new(), members)
    }

    #[test]
    fn a_sound_membership_is_taken() {
        let snapshot = one_of(vec![Member::active("a", "10.0.0.1:8081"), Member::active("b", "[::1]:8081")]);
        assert_eq!(snapshot.unwrap().members().len(), 2);
    }

    #[test]
    fn earlier_memberships_stand_in_order_from_the_settled_one_on() {
        let version = |sequence| Version::new(1, sequence);
        let snapshot =
            Snapshot::new("uid", version(5), version(2), Vec::new(), vec![Member::active("a", "h:1")]);
        let snapshot = snapshot.unwrap();
        let prior =
            |sequence| Prior { version: version(sequence), grantors: Vec::new(), members: Vec::new() };
        let sound = snapshot.clone().with_priors(vec![prior(2), prior(4)]).unwrap();
        assert_eq!(sound.priors().len(), 2);
        for bad in [vec![prior(1)], vec![prior(5)], vec![prior(3), prior(2)], vec![prior(3), prior(3)]] {
            assert!(matches!(snapshot.clone().with_priors(bad).unwrap_err()[..], [Fault::BadPrior(_)]));
        }
    }

    #[test]
    fn every_fault_is_named_not_just_the_first() {
        let mut joining = Member::active("c", "c:1");
        joining.state = State::Joining;
        let members =
            vec![Member::active("A", "x"), Member::active("b", "h:1"), Member::active("b", "h:1"), joining];
        let faults = Snapshot::new("", Version::PROVISIONAL, Version::new(1, 1), vec!["c".into()], members);
        let said: Vec<String> = faults.unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(said.len(), 8, "{said:#?}");
        assert!(said.iter().any(|s| s.contains("cluster uid is empty")));
        assert!(said.iter().any(|s| s.contains("settled version 1.1 is newer")));
        assert!(said.iter().any(|s| s.contains("the name \"A\"")));
        assert!(said.iter().any(|s| s.contains("address \"x\"")));
        assert!(said.iter().any(|s| s.contains("name b stands twice")));
        assert!(said.iter().any(|s| s.contains("grantor c is not an Active member")));
    }
}
