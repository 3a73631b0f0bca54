//! When the ledger moves on, and to which version.

use std::collections::HashSet;

use groupcache_ring::State;

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
        signer: None,
    }
}

fn configuration(marker: u64) -> cluster::Configuration {
    cluster::Configuration { purge_timeout_ms: marker, ..cluster::Configuration::default() }
}

fn held(version: Version, names: &[&str]) -> Held {
    let members: Vec<Member> = names.iter().map(|name| member(name)).collect();
    let grantors = super::grantors::choose(&members, None);
    Held {
        snapshot: Snapshot::new("uid", version, Version::PROVISIONAL, grantors, members).unwrap(),
        configuration: configuration(1),
        membership_since: version,
        configuration_since: version,
        longest_bound: Duration::from_millis(STALENESS_BOUND_MS),
        seal: None,
    }
}

fn with_bound(seconds: u64) -> cluster::Configuration {
    cluster::Configuration { staleness_bound_ms: seconds * 1000, ..configuration(1) }
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

/// Turned red by: a bound of what is heard that is the bound of what is read. The ledger would be written anew at every look.
#[test]
fn what_is_written_above_the_highest_that_is_heard_can_be_read_again() {
    let before = held(v(3, 7), &["a"]);
    for reported in [MAX_HEARD, MAX_HEARD + 1, MAX_COUNT, MAX_COUNT + 1, u64::MAX] {
        let known = Known { reported: v(reported, reported), ..Known::default() };
        let more = next(Some(&before), wanted(&["a", "b"]), known).unwrap().unwrap();
        let bytes = more.to_wire().encode_to_vec();
        let read = Held::from_stored(&bytes, more.membership_since, more.configuration_since, None);
        assert_eq!(read.map(|read| read.version()), Ok(more.version()), "{reported}");
        let after = Known { written: Some(more.version()), ..known };
        assert_eq!(next(Some(&more), wanted(&["a", "b"]), after).unwrap(), None, "{reported}");
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

/// A ledger that only this operator writes.
struct Book(Held);

impl Book {
    fn settled(names: &[&str]) -> Self {
        Book(held(v(3, 7), names).settled_at(v(3, 7)))
    }

    /// Writes what is wanted; true if there was anything to write.
    fn write(&mut self, wanted: Wanted) -> bool {
        let known = Known { written: Some(self.0.version()), ..Known::default() };
        let next = next(Some(&self.0), wanted, known).unwrap();
        let any = next.is_some();
        self.0 = next.unwrap_or_else(|| self.0.clone());
        any
    }

    fn want(&mut self, names: &[&str]) -> bool {
        self.write(wanted(names))
    }

    /// The earlier memberships: first version and names.
    fn priors(&self) -> Vec<String> {
        let told = |prior: &Prior| {
            let names: Vec<&str> = prior.members.iter().map(|member| member.name.as_str()).collect();
            format!("{} {}", prior.version, names.join(""))
        };
        self.0.snapshot.priors().iter().map(told).collect()
    }
}

#[test]
fn every_membership_from_the_settled_one_on_is_named_oldest_first() {
    let mut book = Book::settled(&["a"]);
    assert!(book.want(&["a", "b"]));
    assert_eq!(book.priors(), ["3.7 a"]);
    assert!(book.want(&["a", "b", "c"]));
    assert_eq!(book.priors(), ["3.7 a", "3.8 ab"]);
    assert_eq!(book.0.snapshot.priors()[1].grantors, ["a"], "with those who granted by it");

    assert!(
        book.write(Wanted { settled: v(3, 8), ..wanted(&["a", "b", "c"]) }),
        "one that is settled is dropped"
    );
    assert_eq!((book.0.version(), book.0.snapshot.settled()), (v(3, 10), v(3, 8)));
    assert_eq!(book.priors(), ["3.8 ab"]);
    assert!(
        book.write(Wanted { settled: v(3, 9), ..wanted(&["a", "b", "c", "d"]) }),
        "at once with a change"
    );
    assert_eq!(book.priors(), ["3.9 abc"]);
}

#[test]
fn a_version_that_binds_as_the_one_before_is_one_membership_with_it() {
    let mut book = Book::settled(&["a"]);
    book.want(&["a", "b"]);
    let mut moved = wanted(&["a", "b"]);
    (moved.members[0].boot, moved.members[0].address) = (9, "elsewhere:1".into());
    assert!(book.write(moved.clone()));
    assert!(book.write(Wanted { configuration: Some(configuration(2)), ..moved }));
    assert_eq!((book.0.version(), book.0.membership_since), (v(3, 10), v(3, 8)));
    assert_eq!(book.priors(), ["3.7 a"]);
    book.want(&["b"]);
    assert_eq!(book.priors(), ["3.7 a", "3.8 ab"], "under the first version that bound so");
    assert_eq!(book.0.snapshot.priors()[1].members[0].address, "elsewhere:1", "as it could be reached last");
}

#[test]
fn another_pod_under_an_old_name_is_another_membership() {
    let mut book = Book::settled(&["a", "b"]);
    let mut replaced = wanted(&["a", "b"]);
    replaced.members[1].pod_uid = "new".into();
    book.write(replaced);
    assert_eq!(book.priors(), ["3.7 ab"]);
}

#[test]
fn a_membership_in_which_nobody_may_keep_copies_is_left_out() {
    let joining = |mut wanted: Wanted| {
        wanted.members.iter_mut().for_each(|member| member.state = State::Joining);
        wanted
    };
    let mut book = Book::settled(&["a"]);
    book.write(joining(wanted(&["b"])));
    assert_eq!(book.priors(), ["3.7 a"]);
    book.want(&["b"]);
    assert_eq!(book.priors(), ["3.7 a"], "3.8 had no one to serve");
    let mut leaving = wanted(&["b"]);
    leaving.members[0].state = State::Draining;
    book.write(leaving);
    book.want(&[]);
    assert_eq!(book.priors(), ["3.7 a", "3.9 b", "3.10 b"], "who drains keeps what it has");
}

#[test]
fn that_something_has_settled_is_told_once() {
    let mut book = Book::settled(&["a"]);
    book.want(&["a", "b"]);
    let told = || Wanted { settled: v(3, 8), ..wanted(&["a", "b"]) };
    assert!(book.write(told()));
    assert_eq!((book.0.version(), book.0.snapshot.settled()), (v(3, 9), v(3, 8)));
    assert!(book.priors().is_empty());
    assert!(!book.write(told()), "else every version would call for the next");
    let settlement = settle::Settling::default().look(&settle::Watch {
        now: tokio::time::Instant::now(),
        held: &book.0,
        reports: &Default::default(),
        alive: &HashSet::from([String::new()]),
    });
    assert_eq!(settlement, settle::Settlement { settled: v(3, 8), waits: None }, "3.9 is no news to settle");
}

#[test]
fn with_as_many_memberships_as_may_be_named_the_ring_stands_still() {
    let mut book = Book::settled(&["a"]);
    for n in 0..MAX_PRIORS {
        assert!(!book.0.is_crowded(), "{n}");
        book.want(&[if n % 2 == 0 { "b" } else { "c" }]);
    }
    assert!(book.0.is_crowded());
    let (version, members) = (book.0.version(), book.0.snapshot.members().to_vec());
    assert!(!book.want(&["d"]), "no membership may follow");
    assert!(
        book.write(Wanted { configuration: Some(configuration(2)), ..wanted(&["d"]) }),
        "a configuration may"
    );
    assert_eq!(book.0.version(), version.next());
    assert_eq!(book.0.snapshot.members(), members);
    let shorter = Wanted { configuration: Some(with_bound(1)), ..wanted(&["d"]) };
    assert!(!book.write(shorter), "but for one that binds otherwise");

    assert!(book.write(Wanted { settled: v(3, 8), ..wanted(&["d"]) }), "as soon as something settles");
    assert_eq!(book.0.snapshot.members()[0].name, "d");
    assert_eq!(book.priors().len(), MAX_PRIORS);
}

#[test]
fn a_shorter_bound_is_relied_upon_only_once_everyone_has_it() {
    let seconds = |book: &Book| book.0.longest_bound.as_secs();
    let mut book = Book::settled(&["a"]);
    let with = |seconds| Wanted { configuration: Some(with_bound(seconds)), ..wanted(&["a"]) };
    book.write(with(60));
    assert_eq!((seconds(&book), book.priors().len()), (60, 0));
    book.write(with(2));
    assert_eq!((seconds(&book), book.priors().len()), (60, 1), "somebody may still hold a grant of 60 s");
    let since = book.0.membership_since;
    book.write(Wanted { settled: since, ..with(2) });
    assert_eq!((seconds(&book), book.priors().len()), (2, 0));
}

#[test]
fn who_is_joining_in_the_settled_membership_and_ever_since_may_own_keys() {
    let join = |names: &[&str], joining: &[&str]| {
        let mut wanted = wanted(names);
        for member in &mut wanted.members {
            member.pod_uid = member.name.clone();
            if joining.contains(&member.name.as_str()) {
                member.state = State::Joining;
            }
        }
        wanted
    };
    let joined = |book: &Book, settled| {
        let mut uids: Vec<String> = chain::joined(&book.0, settled).into_iter().collect();
        uids.sort();
        uids
    };
    let mut book = Book::settled(&["a"]);
    book.write(join(&["a", "b"], &["b"]));
    assert!(joined(&book, v(3, 7)).is_empty(), "nobody waits for what is not settled");
    assert_eq!(joined(&book, v(3, 8)), ["b"]);
    book.write(join(&["a", "b", "c"], &["b", "c"]));
    assert_eq!(joined(&book, v(3, 8)), ["b"], "c came later");
    assert_eq!(joined(&book, v(3, 9)), ["b", "c"]);

    let mut again = join(&["a", "b", "c"], &["b", "c"]);
    again.members[1].pod_uid = "another b".into();
    book.write(again);
    assert!(joined(&book, v(3, 8)).is_empty(), "this b was not there");
    assert_eq!(joined(&book, v(3, 9)), ["c"]);
    book.write(join(&["a", "b", "c"], &["b"]));
    book.write(join(&["a", "b", "c"], &["b", "c"]));
    assert!(joined(&book, v(3, 10)).is_empty(), "c was Active meanwhile");
}

#[test]
fn the_first_version_of_a_cluster_without_a_past_is_settled_at_once() {
    let first = next(None, wanted(&["a"]), Known::default()).unwrap().unwrap();
    assert_eq!((first.version(), first.snapshot.settled()), (v(1, 1), v(1, 1)));
    let known = Known { reported: v(7, 1), ..Known::default() };
    let lost = next(None, wanted(&["a"]), known).unwrap().unwrap();
    assert_eq!((lost.version(), lost.snapshot.settled()), (v(8, 1), Version::PROVISIONAL));
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
fn what_is_stored_is_what_is_read() {
    let mut book = Book::settled(&["a", "b"]);
    book.want(&["a"]);
    let before = Held { longest_bound: Duration::from_secs(60), ..book.0 };
    let bytes = before.to_wire().encode_to_vec();
    let longest = Some(before.longest_bound);
    assert_eq!(Held::from_stored(&bytes, v(3, 8), v(3, 7), longest).unwrap(), before);
    assert!(Held::from_stored(&[0xFF; 9], v(1, 1), v(1, 1), None).is_err());
}

#[test]
fn a_ledger_written_by_hand_is_read_only_if_it_can_be_counted_on_from() {
    let read = |version: Version, since: Version| {
        Held::from_stored(&held(version, &["a"]).to_wire().encode_to_vec(), since, version, None)
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
