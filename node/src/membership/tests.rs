//! Snapshots offered to a node: newer, older, equal, foreign and faulty.

use groupcache_proto::cluster::{Configuration, Group};
use groupcache_ring::Member;

use super::*;

fn membership() -> (Membership, Arc<Mutex<Vec<Version>>>) {
    let installed = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&installed);
    let install = Box::new(move |_: Checked, view: Arc<View>| seen.lock().push(view.version()));
    (Membership::new(Identity::new("a", ""), 1 << 30, SnapshotMetrics::default(), install), installed)
}

fn content(uid: &str, version: Version, names: &[&str]) -> cluster::Snapshot {
    let members = names.iter().map(|name| Member::active(*name, format!("{name}:8081"))).collect();
    let snapshot =
        Snapshot::new(uid, version, Version::PROVISIONAL, Vec::new(), members).expect("a sound membership");
    convert::snapshot_to_wire(&snapshot, Configuration::default())
}

fn signed(uid: &str, version: Version, names: &[&str]) -> SignedSnapshot {
    convert::unsigned(&content(uid, version, names))
}

#[test]
fn newer_wins_and_older_is_ignored() {
    let (membership, installed) = membership();
    assert_eq!(membership.version(), Version::PROVISIONAL);
    assert_eq!(membership.offer(signed("u", Version::new(1, 2), &["a"])), Outcome::Adopted);
    assert_eq!(membership.offer(signed("u", Version::new(1, 1), &["a", "b"])), Outcome::Older);
    assert_eq!(membership.offer(signed("u", Version::new(1, 2), &["a"])), Outcome::Unchanged);
    assert_eq!(membership.offer(signed("u", Version::new(2, 1), &["a", "b"])), Outcome::Adopted);
    assert_eq!(membership.version(), Version::new(2, 1));
    assert_eq!(*installed.lock(), vec![Version::new(1, 2), Version::new(2, 1)]);
}

#[test]
fn another_content_or_cluster_is_refused_and_changes_nothing() {
    let (membership, installed) = membership();
    membership.offer(signed("u", Version::new(1, 2), &["a"]));
    let Outcome::Refused(faults) = membership.offer(signed("u", Version::new(1, 2), &["a", "b"])) else {
        panic!("an equal version with another content was taken");
    };
    assert!(faults[0].contains("another content"), "{faults:?}");
    let Outcome::Refused(faults) = membership.offer(signed("v", Version::new(9, 9), &["a"])) else {
        panic!("another cluster's snapshot was taken");
    };
    assert!(faults[0].contains("the cluster \"v\""), "{faults:?}");
    assert_eq!(membership.version(), Version::new(1, 2));
    assert_eq!(installed.lock().len(), 1);
}

#[test]
fn every_fault_of_members_and_configuration_is_named() {
    let (membership, installed) = membership();
    let mut faulty = content("u", Version::new(1, 1), &["a", "b"]);
    faulty.members[1].name = "a".into();
    faulty.members[0].address = "nowhere".into();
    let group = Group { name: "g".into(), loader: "nobody".into(), ..Default::default() };
    faulty.configuration = Some(Configuration { groups: vec![group], ..Default::default() });
    let Outcome::Refused(faults) = membership.offer(convert::unsigned(&faulty)) else {
        panic!("a faulty snapshot was taken");
    };
    for expected in ["a stands twice", "nowhere", "maxBytes is 0", "\"nobody\""] {
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected} is missing in {faults:#?}");
    }
    let garbage = SignedSnapshot { snapshot: vec![0xFF; 9].into(), ..Default::default() };
    assert!(matches!(membership.offer(garbage), Outcome::Refused(_)));
    assert!(installed.lock().is_empty() && membership.in_force().is_none());
}
