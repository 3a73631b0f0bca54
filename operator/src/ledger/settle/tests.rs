//! One test for each clause of the rule: what settles, what does not yet, and what never does.

use groupcache_proto::cluster::Configuration;
use groupcache_ring::{Member, Snapshot, State};

use super::*;
use crate::report::Applied;

const B: Duration = Duration::from_secs(5);

fn v(sequence: u64) -> Version {
    Version::new(1, sequence)
}

/// `a` to `e`; those after the bar are Joining.
fn members(names: &str) -> Vec<Member> {
    let (active, joining) = names.split_once('|').unwrap_or((names, ""));
    let of = |state| {
        move |name: char| {
            let name = name.to_string();
            Member { pod_uid: name.clone(), state, ..Member::active(&name, format!("{name}:1")) }
        }
    };
    active.chars().map(of(State::Active)).chain(joining.chars().map(of(State::Joining))).collect()
}

fn names(text: &str) -> Vec<String> {
    text.chars().map(|name| name.to_string()).collect()
}

/// A ring, what its nodes have adopted, and a clock.
struct World {
    now: Instant,
    held: Held,
    settling: Settling,
    reports: HashMap<String, Report>,
    alive: HashSet<String>,
}

impl World {
    /// Settled at `settled`, with earlier memberships: version, members, grantors. The last is what is in force.
    fn new(settled: u64, chain: &[(u64, &str, &str)]) -> Self {
        let (&(version, of, grantors), earlier) = chain.split_last().expect("a membership");
        let settled = if settled == 0 { Version::PROVISIONAL } else { v(settled) };
        let priors = earlier.iter().map(|(version, of, grantors)| Prior {
            version: v(*version),
            grantors: names(grantors),
            members: members(of),
        });
        let snapshot = Snapshot::new("uid", v(version), settled, names(grantors), members(of))
            .and_then(|snapshot| snapshot.with_priors(priors.collect()))
            .expect("a sound snapshot");
        World {
            now: Instant::now(),
            held: Held {
                snapshot,
                configuration: Configuration::default(),
                membership_since: v(version),
                configuration_since: v(1),
                longest_bound: B,
                seal: None,
            },
            settling: Settling::default(),
            reports: HashMap::new(),
            alive: names("abcdefg").into_iter().collect(),
        }
    }

    fn adopt(&mut self, who: &str, version: u64) -> &mut Self {
        for uid in names(who) {
            let applied = Some(Applied { version: v(version), ring_hash: 1, boot: 1 });
            self.reports.insert(uid, Report { applied, ..Report::default() });
        }
        self
    }

    fn gone(&mut self, who: &str) -> &mut Self {
        for uid in names(who) {
            self.alive.remove(&uid);
            self.reports.remove(&uid);
        }
        self
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    fn look(&mut self) -> Settlement {
        let World { now, held, settling, reports, alive } = self;
        settling.look(&Watch { now: *now, held, reports, alive })
    }

    /// The settled sequence, and what the next one waits for.
    fn says(&mut self) -> (u64, String) {
        let settlement = self.look();
        (settlement.settled.sequence, settlement.waits.map(|wait| wait.to_string()).unwrap_or_default())
    }

    fn settled(&mut self) -> u64 {
        self.says().0
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_members_before_have_adopted_one_bound_must_still_pass() {
    let mut world = World::new(1, &[(1, "a|bc", "a"), (2, "abc", "abc")]);
    assert_eq!(world.says(), (1, "waiting for a, b, c to adopt 1.2".into()));
    world.adopt("abc", 2);
    let waiting = "waiting for the staleness bound of 5 s to pass since 1.2 was adopted".to_owned();
    assert_eq!(world.says(), (1, waiting.clone()));
    assert_eq!(world.look().look_again_in(), Some(B));
    assert_eq!(
        world.after(B / 2).says(),
        (1, waiting),
        "the words stay, or the status would be written all the time"
    );
    assert_eq!(world.look().look_again_in(), Some(B / 2));
    assert_eq!(world.after(B / 2).says(), (2, String::new()));
    assert_eq!(world.look().look_again_in(), None);
}

#[tokio::test(start_paused = true)]
async fn a_majority_of_the_grantors_before_is_enough_and_must_wait_too() {
    let mut world = World::new(1, &[(1, "abcde", "abc"), (2, "abcd", "abc")]);
    world.adopt("cde", 2);
    assert_eq!(
        world.after(B).says(),
        (1, "waiting for a, b to adopt 1.2".into()),
        "one of three, whoever else has"
    );
    world.adopt("b", 2);
    assert_eq!(world.settled(), 1);
    assert_eq!(world.after(B).settled(), 2, "a is not needed");

    let mut world = World::new(1, &[(1, "ab", "a"), (2, "abc", "abc")]);
    world.adopt("bc", 2);
    world.settled();
    assert_eq!(world.after(B).settled(), 1, "two of the grantors after it, and none of those before");
}

#[tokio::test(start_paused = true)]
async fn nothing_settles_before_what_it_follows() {
    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "bcd", "bcd"), (3, "cde", "cde")]);
    world.adopt("bcd", 2).adopt("d", 3);
    world.settled();
    world.adopt("c", 3);
    world.after(B / 2).settled();
    assert_eq!(world.after(B / 2).says().0, 2, "3 has been there for half of the bound");
    assert_eq!(world.after(B / 2).settled(), 3, "its clock ran beside that of the one before");

    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "bcd", "bcd"), (3, "cde", "cde")]);
    world.adopt("cd", 3);
    world.settled();
    assert_eq!(
        world.after(B * 2).says(),
        (1, "waiting for a, b to adopt 1.2".into()),
        "though 3 waits for nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_adopted_stays_so_though_the_node_is_not_heard_any_more() {
    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "ab", "a")]);
    world.adopt("abc", 2).settled();
    world.reports.clear();
    assert_eq!(world.after(B).settled(), 2);

    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "ab", "a")]);
    world.adopt("abc", 2).settled();
    world.adopt("abc", 1);
    assert_eq!(world.after(B).settled(), 2, "what a new process says before it has read its disk");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_for_good_has_adopted_everything() {
    let mut world = World::new(1, &[(1, "ab", "a"), (2, "b", "b")]);
    world.adopt("b", 2);
    world.settled();
    assert_eq!(world.after(B).says(), (1, "waiting for a to adopt 1.2".into()));
    assert_eq!(world.gone("a").settled(), 1, "what it had granted still runs");
    assert_eq!(world.after(B).settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_interruption_starts_the_wait_anew() {
    let mut world = World::new(1, &[(1, "ab", "a"), (2, "b", "b")]);
    world.adopt("b", 2).gone("a").settled();
    world.alive.insert("a".into());
    assert_eq!(world.after(B / 2).settled(), 1, "the pod is there again");
    world.gone("a");
    assert_eq!(world.after(B / 2).settled(), 1);
    assert_eq!(world.after(B / 2).settled(), 1);
    assert_eq!(world.after(B / 2).settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_operator_waits_once_more() {
    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "ab", "a")]);
    world.adopt("abc", 2).settled();
    world.settling = Settling::default();
    assert_eq!(world.after(B).settled(), 1);
    assert_eq!(world.after(B).settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_a_membership_without_keepers_there_is_no_grant_to_wait_for() {
    let mut world = World::new(1, &[(2, "ab|c", "a")]);
    world.adopt("ab", 2);
    assert_eq!(world.settled(), 1, "c may still go by the one before");
    assert_eq!(world.adopt("c", 2).settled(), 2);

    let mut world = World::new(1, &[(2, "ab|c", "a")]);
    world.adopt("a", 2);
    world.settled();
    assert_eq!(world.after(B).settled(), 2, "c cannot hold up the ring for ever");

    let mut world = World::new(1, &[(2, "|ab", "")]);
    assert_eq!(world.adopt("b", 2).settled(), 1);
    assert_eq!(world.after(B).settled(), 2, "nor when nobody grants yet");
}

#[tokio::test(start_paused = true)]
async fn after_a_ledger_that_was_lost_all_who_are_there_or_a_majority_must_adopt() {
    let mut world = World::new(0, &[(2, "abc", "abc")]);
    assert_eq!(world.after(B).says(), (0, "waiting for a, b, c to adopt 1.2".into()));
    world.adopt("ab", 2);
    assert_eq!(world.settled(), 0);
    assert_eq!(world.after(B).settled(), 2);

    let mut world = World::new(0, &[(2, "|abc", "")]);
    world.adopt("a", 2).settled();
    assert_eq!(world.after(B).settled(), 0);
    world.adopt("b", 2).settled();
    assert_eq!(world.after(B).settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_version_of_a_new_cluster_is_settled_as_it_says() {
    assert_eq!(World::new(1, &[(1, "|abc", "")]).says(), (1, String::new()));
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_the_longest_bound_that_anyone_may_still_go_by() {
    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "ab", "a")]);
    world.held.longest_bound = B * 4;
    world.adopt("abc", 2).settled();
    assert_eq!(world.after(B).settled(), 1);
    assert_eq!(world.after(B * 3).settled(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_no_operator_wrote_is_not_taken_for_an_adoption() {
    let mut world = World::new(1, &[(1, "abc", "abc"), (2, "ab", "a")]);
    world.adopt("abc", u64::MAX).settled();
    assert_eq!(world.after(B).settled(), 1);
}
