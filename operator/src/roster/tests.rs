//! Tables of endpoints and acknowledgements, and the members that must come of them.

use super::*;
use crate::report::Applied;

const V: Version = Version::new(1, 5);

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.into(),
        pod_uid: format!("{name}-uid"),
        address: format!("{name}:8081"),
        zone: String::new(),
        serving: true,
        terminating: false,
    }
}

impl Endpoint {
    fn not_serving(self) -> Self {
        Endpoint { serving: false, ..self }
    }
    fn terminating(self) -> Self {
        Endpoint { terminating: true, ..self }
    }
    fn of_pod(self, uid: &str) -> Self {
        Endpoint { pod_uid: uid.into(), ..self }
    }
    fn at(self, address: &str) -> Self {
        Endpoint { address: address.into(), ..self }
    }
}

fn member(name: &str, state: State) -> Member {
    Member { pod_uid: format!("{name}-uid"), boot: 1, state, ..Member::active(name, format!("{name}:8081")) }
}

/// One cluster over time: each look uses the members of the look before.
struct World {
    now: Instant,
    members: Vec<Member>,
    holds: Holds,
    reports: HashMap<String, Report>,
    joined: HashSet<String>,
    replicas: usize,
    last: Roster,
}

impl World {
    fn of(members: Vec<Member>) -> Self {
        let mut world = World {
            now: Instant::now(),
            replicas: members.len(),
            members,
            holds: Holds::default(),
            reports: HashMap::new(),
            joined: HashSet::new(),
            last: Roster::default(),
        };
        for uid in world.members.iter().map(|m| m.pod_uid.clone()).collect::<Vec<_>>() {
            world.acknowledges(&uid);
        }
        world
    }

    fn active(names: &[&str]) -> Self {
        World::of(names.iter().map(|name| member(name, State::Active)).collect())
    }

    fn scaled_to(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    fn acknowledges(&mut self, uid: &str) {
        let applied = Some(Applied { version: V, ring_hash: 1, boot: 1 });
        self.reports.insert(uid.into(), Report { applied, ..Report::default() });
    }

    /// Everyone who is Joining now is known to all who act.
    fn settles(&mut self) {
        let joining = self.members.iter().filter(|member| member.state == State::Joining);
        self.joined = joining.map(|member| member.pod_uid.clone()).collect();
    }

    fn after(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        self
    }

    /// The members as `name=State`, after a look at these endpoints.
    fn sees(&mut self, endpoints: &[Endpoint]) -> String {
        let sight = Sight {
            now: self.now,
            before: &self.members,
            version: V,
            joined: &self.joined,
            endpoints,
            reports: &self.reports,
            replicas: self.replicas,
        };
        self.last = roster(&sight, &mut self.holds);
        self.members = self.last.members.clone();
        let said: Vec<String> = self.members.iter().map(|m| format!("{}={}", m.name, m.state)).collect();
        said.join(" ")
    }
}

#[tokio::test]
async fn a_pod_with_an_address_joins_and_owns_keys_once_that_has_settled_and_it_knows() {
    let mut world = World::active(&["a"]).scaled_to(2);
    let both = [endpoint("a"), endpoint("b").not_serving()];
    assert_eq!(world.sees(&both), "a=Active b=Joining");
    world.acknowledges("b-uid");
    let long = Duration::from_secs(3600);
    assert_eq!(world.after(long).sees(&both), "a=Active b=Joining", "no time is long enough");
    assert_eq!(world.last.look_again_in, None);
    world.settles();
    world.reports.remove("b-uid");
    assert_eq!(world.sees(&both), "a=Active b=Joining", "b has acknowledged nothing");
    world.acknowledges("b-uid");
    assert_eq!(world.sees(&both), "a=Active b=Active", "that it is not ready yet is no reason to wait");
}

#[tokio::test]
async fn who_joins_does_not_wait_for_others_to_acknowledge() {
    let mut world = World::active(&["a"]).scaled_to(2);
    world.reports.clear();
    let both = [endpoint("a"), endpoint("b")];
    world.sees(&both);
    world.settles();
    world.acknowledges("b-uid");
    assert_eq!(world.sees(&both), "a=Active b=Active", "a cannot be reached; that all settled without it");
}

#[tokio::test]
async fn the_first_members_join_together_but_do_not_wait_for_ever() {
    let both = [endpoint("a"), endpoint("b")];
    let mut world = World::of(Vec::new()).scaled_to(2);
    assert_eq!(world.sees(&both), "a=Joining b=Joining");
    world.settles();
    world.acknowledges("a-uid");
    assert_eq!(world.sees(&both), "a=Joining b=Joining");
    assert_eq!(world.last.look_again_in, Some(FIRST_TOGETHER));
    world.acknowledges("b-uid");
    assert_eq!(world.sees(&both), "a=Active b=Active");
    assert_eq!(world.members[0].boot, 1, "the boot is the one acknowledged");

    let mut world = World::of(Vec::new()).scaled_to(2);
    world.sees(&both);
    world.settles();
    world.acknowledges("a-uid");
    world.sees(&both);
    assert_eq!(world.after(FIRST_TOGETHER).sees(&both), "a=Active b=Joining");
}

#[tokio::test]
async fn who_terminates_drains_at_once_and_is_gone_with_its_pod() {
    let mut world = World::active(&["a", "b", "c"]).scaled_to(2);
    let leaving = [endpoint("a"), endpoint("b"), endpoint("c").terminating()];
    assert_eq!(world.sees(&leaving), "a=Active b=Active c=Draining");
    assert_eq!(world.sees(&leaving[..2]), "a=Active b=Active");
}

/// Turned red by: a guard that takes those who leave in good order for lost, and so keeps them from handing over.
#[tokio::test]
async fn most_of_the_ring_may_leave_in_good_order_but_not_all_of_it() {
    let mut world = World::active(&["a", "b", "c"]);
    let leaving = ["a", "b", "c"].map(|name| endpoint(name).terminating());
    let two = [endpoint("a"), leaving[1].clone(), leaving[2].clone()];
    assert_eq!(world.sees(&two), "a=Active b=Draining c=Draining");
    assert!(world.last.guarded.is_empty());

    let mut world = World::active(&["a", "b", "c"]);
    assert_eq!(world.sees(&leaving), "a=Active b=Active c=Active");
}

#[tokio::test]
async fn a_node_that_is_slow_for_a_moment_keeps_its_keys() {
    let mut world = World::active(&["a", "b", "c"]);
    let slow = [endpoint("a"), endpoint("b"), endpoint("c").not_serving()];
    let well = [endpoint("a"), endpoint("b"), endpoint("c")];
    assert_eq!(world.sees(&slow), "a=Active b=Active c=Active");
    assert_eq!(world.last.look_again_in, Some(HOLD_DOWN));
    world.after(HOLD_DOWN / 2).sees(&well);
    assert_eq!(
        world.after(HOLD_DOWN / 2).sees(&slow),
        "a=Active b=Active c=Active",
        "it had recovered meanwhile"
    );
    assert_eq!(world.after(HOLD_DOWN).sees(&slow), "a=Active b=Active c=Joining");
    assert_eq!(world.sees(&well), "a=Active b=Active c=Joining", "it comes back as everyone comes");
    world.settles();
    assert_eq!(world.sees(&slow), "a=Active b=Active c=Joining", "it must serve to come back");
    assert_eq!(world.sees(&well), "a=Active b=Active c=Active");
}

#[tokio::test]
async fn of_two_pods_with_one_name_the_newer_stands() {
    let old_and_new = [endpoint("a"), endpoint("b").terminating(), endpoint("b").of_pod("new").at("new:1")];
    let reversed = [old_and_new[2].clone(), old_and_new[1].clone(), old_and_new[0].clone()];
    for endpoints in [old_and_new, reversed] {
        let mut world = World::active(&["a", "b"]);
        assert_eq!(world.sees(&endpoints), "a=Active b=Joining");
        assert_eq!(world.members[1].pod_uid, "new");
        assert_eq!(world.members[1].boot, 0, "the boot of its predecessor is not its own");
    }
    let mut world = World::active(&["a", "b"]);
    world.sees(&[endpoint("a"), endpoint("b"), endpoint("b").of_pod("zzz")]);
    assert_eq!(world.members[1].pod_uid, "zzz", "neither terminates: the one not known before is the newer");
}

#[tokio::test]
async fn an_address_that_another_pod_has_now_is_that_pods() {
    let mut world = World::active(&["a", "b", "c"]).scaled_to(4);
    // b and c vanish, which the guard does not believe; but d has c's address.
    assert_eq!(world.sees(&[endpoint("a"), endpoint("d").at("c:8081")]), "a=Active b=Active d=Joining");
    assert_eq!(world.last.guarded, ["b"]);
}

#[tokio::test]
async fn most_of_the_ring_does_not_vanish_in_one_step() {
    let mut world = World::active(&["a", "b", "c", "d"]);
    assert_eq!(world.sees(&[endpoint("a")]), "a=Active b=Active c=Active d=Active");
    assert_eq!(world.last.guarded, ["b", "c", "d"]);
    assert_eq!(world.last.look_again_in, Some(GUARD_PATIENCE));
    assert_eq!(world.sees(&[endpoint("a"), endpoint("b")]), "a=Active b=Active", "half is believed");

    let mut world = World::active(&["a", "b", "c", "d"]);
    world.sees(&[endpoint("a")]);
    assert_eq!(
        world.after(GUARD_PATIENCE).sees(&[endpoint("a")]),
        "a=Active",
        "a lasting picture is believed"
    );
}

#[tokio::test]
async fn scaling_down_is_no_accident() {
    let mut world = World::active(&["a", "b", "c", "d"]).scaled_to(1);
    let leaving = [
        endpoint("a"),
        endpoint("b").terminating(),
        endpoint("c").terminating(),
        endpoint("d").terminating(),
    ];
    assert_eq!(world.sees(&leaving), "a=Active b=Draining c=Draining d=Draining");
    let mut world = World::active(&["a", "b"]).scaled_to(0);
    assert_eq!(world.sees(&[]), "");
}

#[tokio::test]
async fn when_everyone_is_not_ready_nobody_loses_keys_at_once() {
    let mut world = World::active(&["a", "b", "c"]);
    let none = ["a", "b", "c"].map(|name| endpoint(name).not_serving());
    world.sees(&none);
    assert_eq!(world.after(HOLD_DOWN).sees(&none), "a=Active b=Active c=Active");
    assert_eq!(world.last.guarded, ["a", "b", "c"]);
}

#[tokio::test]
async fn when_nobody_is_ready_for_long_the_ring_keeps_who_is_there() {
    let mut world = World::active(&["a", "b", "c", "d"]);
    let none = ["a", "b", "c"].map(|name| endpoint(name).not_serving());
    world.sees(&none);
    world.after(HOLD_DOWN).sees(&none);
    // An empty ring would serve nobody; whose pod is gone is gone all the same.
    assert_eq!(world.after(GUARD_PATIENCE).sees(&none), "a=Active b=Active c=Active");
    assert_eq!(world.after(GUARD_PATIENCE).sees(&none), "a=Active b=Active c=Active");
    assert_eq!(world.last.guarded, ["a", "b", "c"]);

    // They come back one after the other.
    let one_is_back = [endpoint("a"), none[1].clone(), none[2].clone()];
    assert_eq!(world.sees(&one_is_back), "a=Active b=Active c=Active");
    assert_eq!(world.after(GUARD_PATIENCE).sees(&one_is_back), "a=Active b=Joining c=Joining");
}

#[tokio::test]
async fn probes_that_fail_one_after_the_other_take_nobodys_keys_either() {
    let ready = ["a", "b", "c"].map(endpoint);
    let none = ready.clone().map(Endpoint::not_serving);
    let mut world = World::active(&["a", "b", "c"]);
    world.sees(&[none[0].clone(), ready[1].clone(), ready[2].clone()]);
    let moment = Duration::from_secs(1);
    world.after(moment).sees(&none);
    assert_eq!(world.after(HOLD_DOWN - moment).sees(&none), "a=Active b=Active c=Active");
    assert_eq!(world.last.guarded, ["a"], "the others' time has not run out");
    assert_eq!(world.after(moment).sees(&none), "a=Active b=Active c=Active");
    assert_eq!(world.after(GUARD_PATIENCE).sees(&none), "a=Active b=Active c=Active");

    // They come back in the same way: the last of them has its time anew, once.
    let last = [none[0].clone(), ready[1].clone(), ready[2].clone()];
    world.sees(&[none[0].clone(), none[1].clone(), ready[2].clone()]);
    assert_eq!(world.after(moment).sees(&last), "a=Active b=Active c=Active");
    assert_eq!(world.last.look_again_in, Some(HOLD_DOWN));
    assert_eq!(world.after(HOLD_DOWN).sees(&last), "a=Joining b=Active c=Active");

    // One that alone does not serve has nothing to do with them.
    let mut world = World::active(&["a", "b", "c"]);
    world.sees(&none);
    let one = [none[0].clone(), ready[1].clone(), ready[2].clone()];
    assert_eq!(world.after(HOLD_DOWN).sees(&one), "a=Joining b=Active c=Active");
    // Nor has a pod that leaves, whoever does not serve at that moment.
    let mut world = World::active(&["a", "b", "c"]);
    let leaves = [endpoint("a").terminating(), none[1].clone(), ready[2].clone()];
    assert_eq!(world.sees(&leaves), "a=Draining b=Active c=Active");
}

#[tokio::test]
async fn the_only_node_keeps_its_keys_until_its_successor_is_there() {
    let mut world = World::active(&["a"]);
    assert_eq!(world.sees(&[endpoint("a").terminating()]), "a=Active");
    assert_eq!(world.sees(&[]), "a=Active");
    assert!(world.last.guarded.is_empty(), "nothing is odd about it");
    assert_eq!(world.sees(&[endpoint("a").of_pod("new")]), "a=Joining");
    world.acknowledges("new");
    world.settles();
    assert_eq!(world.sees(&[endpoint("a").of_pod("new")]), "a=Active");
}

#[tokio::test]
async fn a_restarted_process_is_the_same_member_with_another_boot() {
    let mut world = World::active(&["a", "b"]);
    let applied = Some(Applied { version: V, ring_hash: 1, boot: 99 });
    world.reports.insert("b-uid".into(), Report { applied, ..Report::default() });
    assert_eq!(world.sees(&[endpoint("a"), endpoint("b")]), "a=Active b=Active");
    assert_eq!(world.members[1].boot, 99);
}

#[test]
fn without_a_ledger_whoever_serves_is_taken_to_be_in_the_ring() {
    let endpoints = [
        endpoint("a"),
        endpoint("b").not_serving(),
        endpoint("c").terminating(),
        endpoint("d").terminating(),
        endpoint("d").of_pod("new").at("new:1"),
    ];
    let members = recovered(&endpoints, &HashMap::new());
    let said: Vec<String> = members.iter().map(|m| format!("{}={} {}", m.name, m.state, m.address)).collect();
    assert_eq!(said, ["a=Active a:8081", "d=Active new:1"]);
}
