//! When the ledger moves on, and to which version.

use super::*;

fn member(name: &str) -> Member {
    Member::active(name, format!("{name}:8081"))
}

fn wanted(names: &[&str]) -> Wanted {
    Wanted {
        cluster_uid: "uid".into(),
        members: names.iter().map(|name| member(name)).collect(),
        configuration: Some(configuration(1)),
        settled: Version::PROVISIONAL,
    }
}

fn configuration(marker: u64) -> cluster::Configuration {
    cluster::Configuration { purge_timeout_ms: marker, ..cluster::Configuration::default() }
}

fn held(version: Version, names: &[&str]) -> Held {
    let members: Vec<Member> = names.iter().map(|name| member(name)).collect();
    let grantors = super::grantors(&members, &[]);
    Held {
        snapshot: Snapshot::new("uid", version, Version::PROVISIONAL, grantors, members).unwrap(),
        configuration: configuration(1),
        membership_since: version,
        configuration_since: version,
    }
}

impl Held {
    fn settled_at(self, settled: Version) -> Self {
        let s = &self.snapshot;
        let snapshot =
            Snapshot::new("uid", s.version(), settled, s.grantors().to_vec(), s.members().to_vec()).unwrap();
        Held { snapshot, ..self }
    }
}

fn v(epoch: u64, sequence: u64) -> Version {
    Version::new(epoch, sequence)
}

#[test]
fn the_version_that_comes_next() {
    let same = Some(held(v(3, 7), &["a", "b"]));
    let table: Vec<(&str, Option<Held>, Known, Option<Version>)> = vec![
        ("nothing there", None, Known::default(), Some(v(1, 1))),
        (
            "nothing there, but the status remembers",
            None,
            Known { status: v(4, 2), ..Known::default() },
            Some(v(5, 1)),
        ),
        ("nothing changed", same.clone(), Known::default(), None),
        (
            "nothing changed, written by us",
            same.clone(),
            Known { written: Some(v(3, 7)), ..Known::default() },
            None,
        ),
        (
            "the status is ahead: the ledger was restored",
            same.clone(),
            Known { status: v(3, 9), ..Known::default() },
            Some(v(4, 1)),
        ),
        (
            "a node is ahead, though we wrote the ledger",
            same.clone(),
            Known { reported: v(9, 1), written: Some(v(3, 7)), ..Known::default() },
            Some(v(10, 1)),
        ),
        (
            "a node reports what no operator ever wrote",
            same.clone(),
            Known { reported: v(u64::MAX, 1), ..Known::default() },
            None,
        ),
        (
            "the ledger was deleted under us",
            None,
            Known { written: Some(v(3, 7)), ..Known::default() },
            Some(v(4, 1)),
        ),
        ("a change after taking over", Some(held(v(3, 7), &["a"])), Known::default(), Some(v(4, 1))),
        (
            "a change in our own epoch",
            Some(held(v(3, 7), &["a"])),
            Known { written: Some(v(3, 7)), ..Known::default() },
            Some(v(3, 8)),
        ),
    ];
    for (name, held, known, expected) in table {
        let next = next(held.as_ref(), wanted(&["a", "b"]), known).unwrap();
        assert_eq!(next.map(|held| held.version()), expected, "{name}");
    }
}

#[test]
fn a_deposed_operator_writes_nothing() {
    let theirs = held(v(4, 1), &["a"]);
    let refused =
        next(Some(&theirs), wanted(&["a", "b"]), Known { written: Some(v(3, 7)), ..Known::default() });
    assert!(matches!(refused, Err(Refused::Deposed { ours: 3, .. })), "{refused:?}");
}

#[test]
fn what_changed_is_remembered_apart() {
    let before = held(v(3, 7), &["a", "b"]);
    let known = Known { written: Some(v(3, 7)), ..Known::default() };
    let more = next(Some(&before), wanted(&["a", "b", "c"]), known).unwrap().unwrap();
    assert_eq!((more.membership_since, more.configuration_since), (v(3, 8), v(3, 7)));
    let other = Wanted { configuration: Some(configuration(2)), ..wanted(&["a", "b"]) };
    let other = next(Some(&before), other, known).unwrap().unwrap();
    assert_eq!((other.membership_since, other.configuration_since), (v(3, 7), v(3, 8)));
}

#[test]
fn a_faulty_spec_leaves_the_configuration_in_force() {
    let before = held(v(3, 7), &["a"]);
    let faulty = Wanted { configuration: None, ..wanted(&["a", "b"]) };
    let after = next(Some(&before), faulty, Known::default()).unwrap().unwrap();
    assert_eq!(after.configuration, before.configuration);
    assert_eq!(after.configuration_since, v(3, 7));
}

#[test]
fn that_a_change_of_members_has_settled_is_told_once() {
    let known = Known { written: Some(v(3, 7)), ..Known::default() };
    let before = held(v(3, 7), &["a"]);
    let settled = Wanted { settled: v(3, 7), ..wanted(&["a"]) };
    let told = next(Some(&before), settled, known).unwrap().unwrap();
    assert_eq!((told.version(), told.snapshot.settled()), (v(3, 8), v(3, 7)));
    let known = Known { written: Some(v(3, 8)), ..known };
    let again = Wanted { settled: v(3, 8), ..wanted(&["a"]) };
    assert_eq!(next(Some(&told), again, known).unwrap(), None, "else every version would call for the next");
}

#[test]
fn what_is_settled_stays_so_and_is_never_ahead() {
    let known = Known { written: Some(v(3, 7)), ..Known::default() };
    let before = held(v(3, 7), &["a"]).settled_at(v(3, 5));
    let backwards = Wanted { settled: v(3, 1), ..wanted(&["a", "b"]) };
    assert_eq!(next(Some(&before), backwards, known).unwrap().unwrap().snapshot.settled(), v(3, 5));
    let ahead = Wanted { settled: v(9, 9), ..wanted(&["a", "b"]) };
    assert_eq!(next(Some(&before), ahead, known).unwrap().unwrap().snapshot.settled(), v(3, 7));
}

#[test]
fn a_cluster_made_anew_under_an_old_name_does_not_inherit() {
    let other = Wanted { cluster_uid: "other".into(), ..wanted(&["a"]) };
    let made = next(Some(&held(v(3, 7), &["a"])), other, Known::default()).unwrap().unwrap();
    assert_eq!(made.snapshot.cluster_uid(), "other");
    assert_eq!(made.version(), v(1, 1));
}

#[test]
fn grantors_are_active_few_and_stay() {
    let names: Vec<String> = (0..9).map(|n| format!("c-{n}")).collect();
    let mut members: Vec<Member> = names.iter().map(|name| member(name)).collect();
    let first = grantors(&members, &[]);
    assert_eq!(first, names[..7]);
    members[2].state = State::Draining;
    let second = grantors(&members, &first);
    assert_eq!(second, ["c-0", "c-1", "c-3", "c-4", "c-5", "c-6", "c-7"]);
    members[2].state = State::Active;
    assert_eq!(grantors(&members, &second), second, "who returns does not push anyone out");
}

#[test]
fn what_is_stored_is_what_is_read() {
    let before = held(v(3, 7), &["a", "b"]).settled_at(v(3, 6));
    let bytes = before.to_wire().encode_to_vec();
    assert_eq!(Held::from_stored(&bytes, v(3, 7), v(3, 7)).unwrap(), before);
    assert!(Held::from_stored(&[0xFF; 9], v(1, 1), v(1, 1)).is_err());
}

#[test]
fn a_ledger_written_by_hand_is_read_only_if_it_can_be_counted_on_from() {
    let read = |version: Version, since: Version| {
        Held::from_stored(&held(version, &["a"]).to_wire().encode_to_vec(), since, version)
            .map(|held| held.version())
    };
    assert_eq!(read(v(3, 7), v(3, 7)), Ok(v(3, 7)));
    assert_eq!(read(v(3, 7), v(99, 1)).unwrap_err(), "it is at 3.7 and speaks of 99.1");
    assert!(read(v(u64::MAX, 1), v(1, 1)).unwrap_err().starts_with("no operator ever wrote"));
    assert!(read(v(1, u64::MAX), v(1, 1)).unwrap_err().starts_with("no operator ever wrote"));
}

#[test]
fn a_node_or_a_status_that_lies_about_versions_is_not_followed() {
    for lie in [v(1 << 63, 1), v(7, u64::MAX)] {
        let known = Known { status: v(2, 1), reported: lie, ..Known::default() };
        assert_eq!(known.highest(), v(2, 1));
        assert_eq!(Known { status: lie, ..Known::default() }.highest(), Version::PROVISIONAL);
    }
}
