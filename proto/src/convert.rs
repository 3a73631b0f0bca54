//! The one checked door from memberships on the wire to ring values, and back.

use groupcache_ring::{Fault, Member, Prior, Snapshot, State, Version};
use prost::Message;
use thiserror::Error;

use crate::cluster;

/// Why a membership on the wire is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unsound {
    /// The bytes are no snapshot message.
    #[error("the snapshot does not decode: {0}")]
    Garbled(String),
    /// A member's state is none we know.
    #[error("the member {name} has the unknown state {state}")]
    UnknownState {
        /// The member.
        name: String,
        /// The number on the wire.
        state: i32,
    },
    /// The membership itself is faulty.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A version from the wire; an absent one is provisional.
#[must_use]
pub fn version(wire: Option<&cluster::Version>) -> Version {
    wire.map_or(Version::PROVISIONAL, |v| Version::new(v.epoch, v.sequence))
}

/// A version for the wire.
#[must_use]
pub fn version_to_wire(version: Version) -> cluster::Version {
    cluster::Version { epoch: version.epoch, sequence: version.sequence }
}

/// The snapshot message inside a signed one.
///
/// # Errors
/// [`Unsound::Garbled`] if the bytes are no snapshot.
pub fn open(signed: &cluster::SignedSnapshot) -> Result<cluster::Snapshot, Unsound> {
    cluster::Snapshot::decode(signed.snapshot.clone()).map_err(|e| Unsound::Garbled(e.to_string()))
}

/// The checked membership of a snapshot message.
///
/// # Errors
/// Every fault found.
pub fn membership(wire: &cluster::Snapshot) -> Result<Snapshot, Vec<Unsound>> {
    let mut faults = Vec::new();
    let members = members(&wire.members, &mut faults);
    let priors = wire.priors.iter().map(|prior| Prior {
        version: version(prior.version.as_ref()),
        grantors: prior.grantors.clone(),
        members: self::members(&prior.members, &mut faults),
    });
    let priors = priors.collect();
    let made = Snapshot::new(
        &wire.cluster_uid,
        version(wire.version.as_ref()),
        version(wire.settled.as_ref()),
        wire.grantors.clone(),
        members,
    );
    match made.and_then(|made| made.with_priors(priors)) {
        Ok(snapshot) if faults.is_empty() => Ok(snapshot),
        Ok(_) => Err(faults),
        Err(more) => {
            faults.extend(more.into_iter().map(Unsound::from));
            Err(faults)
        }
    }
}

fn members(wire: &[cluster::Member], faults: &mut Vec<Unsound>) -> Vec<Member> {
    let member = |member: &cluster::Member| {
        let state = state(member.state).unwrap_or_else(|| {
            faults.push(Unsound::UnknownState { name: member.name.clone(), state: member.state });
            State::Joining
        });
        Member {
            name: member.name.clone(),
            pod_uid: member.pod_uid.clone(),
            boot: member.boot,
            address: member.address.clone(),
            zone: member.zone.clone(),
            state,
        }
    };
    wire.iter().map(member).collect()
}

/// The snapshot message of a membership and a configuration.
#[must_use]
pub fn snapshot_to_wire(snapshot: &Snapshot, configuration: cluster::Configuration) -> cluster::Snapshot {
    cluster::Snapshot {
        cluster_uid: snapshot.cluster_uid().to_owned(),
        version: Some(version_to_wire(snapshot.version())),
        settled: Some(version_to_wire(snapshot.settled())),
        grantors: snapshot.grantors().to_vec(),
        members: snapshot.members().iter().map(member_to_wire).collect(),
        configuration: Some(configuration),
        priors: snapshot.priors().iter().map(prior_to_wire).collect(),
    }
}

/// A snapshot message as it is pushed while nothing signs it.
#[must_use]
pub fn unsigned(snapshot: &cluster::Snapshot) -> cluster::SignedSnapshot {
    cluster::SignedSnapshot { snapshot: snapshot.encode_to_vec().into(), ..Default::default() }
}

/// The state of a member from the wire; `None` if it is none we know.
#[must_use]
pub fn state(wire: i32) -> Option<State> {
    match cluster::MemberState::try_from(wire).ok()? {
        cluster::MemberState::Unspecified => None,
        cluster::MemberState::Joining => Some(State::Joining),
        cluster::MemberState::Active => Some(State::Active),
        cluster::MemberState::Draining => Some(State::Draining),
    }
}

/// The state of a member for the wire.
#[must_use]
pub fn state_to_wire(state: State) -> cluster::MemberState {
    match state {
        State::Joining => cluster::MemberState::Joining,
        State::Active => cluster::MemberState::Active,
        State::Draining => cluster::MemberState::Draining,
    }
}

fn prior_to_wire(prior: &Prior) -> cluster::Prior {
    cluster::Prior {
        version: Some(version_to_wire(prior.version)),
        grantors: prior.grantors.clone(),
        members: prior.members.iter().map(member_to_wire).collect(),
    }
}

fn member_to_wire(member: &Member) -> cluster::Member {
    cluster::Member {
        name: member.name.clone(),
        pod_uid: member.pod_uid.clone(),
        boot: member.boot,
        address: member.address.clone(),
        zone: member.zone.clone(),
        state: state_to_wire(member.state).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Snapshot {
        let members = vec![Member::active("a", "a:1"), Member { boot: 7, ..Member::active("b", "b:1") }];
        let version = Version::new(2, 1);
        let prior = Prior { version, grantors: vec!["b".into()], members: members.clone() };
        Snapshot::new("uid", Version::new(2, 3), version, vec!["a".into()], members)
            .and_then(|snapshot| snapshot.with_priors(vec![prior]))
            .expect("a sound membership")
    }

    #[test]
    fn a_membership_survives_the_wire() {
        let wire = snapshot_to_wire(&sample(), cluster::Configuration::default());
        let opened = open(&unsigned(&wire)).expect("it decodes");
        assert_eq!(membership(&opened).expect("it is sound"), sample());
    }

    #[test]
    fn an_unknown_state_is_named_beside_the_other_faults() {
        let mut wire = snapshot_to_wire(&sample(), cluster::Configuration::default());
        wire.members[0].state = 9;
        wire.cluster_uid.clear();
        let said: Vec<_> = membership(&wire).expect_err("unsound").iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|s| s.contains("member a has the unknown state 9")), "{said:?}");
        assert!(said.iter().any(|s| s.contains("cluster uid is empty")), "{said:?}");
    }

    #[test]
    fn garbage_is_refused() {
        let garbage = cluster::SignedSnapshot { snapshot: vec![0xFF; 40].into(), ..Default::default() };
        assert!(matches!(open(&garbage), Err(Unsound::Garbled(_))));
    }

    fn some_member() -> impl Strategy<Value = Member> {
        let state = prop::sample::select(vec![State::Joining, State::Active, State::Draining]);
        (any::<u64>(), "[a-z]{0,3}", "[a-z]{0,3}", state).prop_map(|(boot, pod_uid, zone, state)| Member {
            boot,
            pod_uid,
            zone,
            state,
            ..Member::active("", "")
        })
    }

    /// Members with names and addresses of their own, and an Active first one.
    fn some_members() -> impl Strategy<Value = Vec<Member>> {
        prop::collection::vec(some_member(), 1..9).prop_map(|mut members| {
            members[0].state = State::Active;
            for (at, member) in members.iter_mut().enumerate() {
                (member.name, member.address) = (format!("n{at}"), format!("n{at}:8081"));
            }
            members
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_chain_of_memberships_survives_the_wire(
            members in some_members(), steps in prop::collection::vec((1..9u64, some_members()), 0..17), settled in 1..9u64
        ) {
            let mut sequence = settled;
            let mut priors = Vec::new();
            for (step, members) in steps {
                // What was left out makes gaps; the first may be the settled one itself.
                let grantors = vec![members[0].name.clone()];
                priors.push(Prior { version: Version::new(3, sequence), grantors, members });
                sequence += step;
            }
            let (version, settled) = (Version::new(3, sequence), Version::new(3, settled));
            let chain = Snapshot::new("u", version, settled, vec!["n0".into()], members)
                .and_then(|snapshot| snapshot.with_priors(priors));
            let chain = chain.expect("a chain in order, of at most 16");
            let wire = open(&unsigned(&snapshot_to_wire(&chain, cluster::Configuration::default())));
            prop_assert_eq!(membership(&wire.expect("it decodes")), Ok(chain));
        }
    }
}
