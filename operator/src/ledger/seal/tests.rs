//! A membership is signed anew when the signer changes or the signature is not its own, and never otherwise.

use std::time::{Duration, SystemTime};

use groupcache_proto::cluster::{Configuration, SignedSnapshot};
use groupcache_ring::{Member, Snapshot, Version};
use groupcache_tls::authority::Authority;
use prost::Message;

use super::*;
use crate::ledger::{Known, Refused, Wanted, next};

const HOUR: Duration = Duration::from_secs(3600);

fn v(epoch: u64, sequence: u64) -> Version {
    Version::new(epoch, sequence)
}

fn member() -> Member {
    Member::active("a", "a:8081")
}

fn held(version: Version) -> Held {
    let grantors = vec!["a".to_owned()];
    Held {
        snapshot: Snapshot::new("uid", version, Version::PROVISIONAL, grantors, vec![member()]).unwrap(),
        configuration: Configuration::default(),
        membership_since: version,
        configuration_since: version,
        longest_bound: Duration::from_secs(5),
        seal: None,
    }
}

fn wanted(signer: Option<&str>) -> Wanted {
    Wanted {
        cluster_uid: "uid".into(),
        members: vec![member()],
        configuration: Some(Configuration::default()),
        settled: Version::PROVISIONAL,
        signer: signer.map(str::to_owned),
    }
}

fn authority(name: &str) -> Authority {
    Authority::generate(name, SystemTime::now(), HOUR).unwrap()
}

fn read(signed: &SignedSnapshot) -> Held {
    Held::from_stored(&signed.encode_to_vec(), v(3, 7), v(3, 7), None).unwrap()
}

/// Turned red by: a signer that changes and leaves nodes with what the one before has signed, or one that is missing for a while and takes the signature away.
#[test]
fn a_new_signer_makes_a_new_version_and_none_makes_none() {
    let seal = |signer: &str| Some(Seal { signer: signer.into(), signature: vec![1] });
    let before = Held { seal: seal("old"), ..held(v(3, 7)) };
    let known = Known { written: Some(v(3, 7)), ..Known::default() };
    let version = |next: Result<Option<Held>, Refused>| next.unwrap().map(|held| held.version());
    assert_eq!(version(next(Some(&before), wanted(Some("old")), known)), None);
    assert_eq!(version(next(Some(&before), wanted(None), known)), None);
    assert_eq!(version(next(Some(&before), wanted(Some("new")), known)), Some(v(3, 8)));
    let unsigned = Held { seal: None, ..before };
    assert_eq!(version(next(Some(&unsigned), wanted(Some("old")), known)), Some(v(3, 8)));
}

#[test]
fn what_is_signed_is_read_back_with_its_signature_unless_it_was_put_into_other_bytes() {
    let held = held(v(3, 7)).sealed(&authority("ours")).unwrap();
    let mut signed = held.to_wire();
    assert_eq!(read(&signed).seal, held.seal);
    // An unknown field, as a later release would have.
    signed.snapshot = [&signed.snapshot[..], &[0xf8, 0x07, 0x01]].concat().into();
    assert_eq!(read(&signed).seal, None);
}
