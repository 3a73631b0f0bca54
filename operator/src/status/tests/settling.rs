//! What the ring waits for before it has converged, and what not.

use super::*;

#[test]
fn while_an_earlier_membership_binds_the_ring_has_not_converged() {
    let waits = |w: &mut World| {
        w.settled = Version::new(1, 1);
        w.priors = 2;
        w.waits = Some(Wait::Adoption { version: Version::new(1, 2), by: vec!["c-9".into()] });
    };
    let world = World::well().with(waits);
    assert_eq!(world.differs(), ["RingConverged=False/Settling"]);
    assert_eq!(
        world.message(RING_CONVERGED),
        "an earlier membership than 2.4 still binds: waiting for c-9 to adopt 1.2"
    );
    let membership = world.status().membership.expect("a membership");
    assert_eq!((membership.settled.as_deref(), membership.priors), (Some("1.1"), 2));

    let joins = World::well().with(waits).with(|w| {
        w.members[2].state = State::Joining;
        let ring_hash = Ring::new(&w.members).hash();
        w.reports.values_mut().for_each(|r| r.applied.as_mut().expect("reached").ring_hash = ring_hash);
    });
    assert_eq!(joins.message(RING_CONVERGED), "c-2 about to own keys: waiting for c-9 to adopt 1.2");

    let crowded = World::well().with(waits).with(|w| w.priors = 16);
    assert!(crowded.message(RING_CONVERGED).ends_with(
        "; 16 earlier memberships bind, as many as may: members change again when one has settled"
    ));
}

#[test]
fn a_node_that_leaves_is_not_waited_for() {
    let world = World::well().with(|w| {
        w.endpoints[2].terminating = true;
        w.members[2].state = State::Draining;
        w.report("c-2").unreachable = Some("gone".into());
        let ring_hash = Ring::new(&w.members).hash();
        for uid in ["c-0", "c-1"] {
            w.report(uid).applied.as_mut().expect("reached").ring_hash = ring_hash;
        }
    });
    assert_eq!(world.differs(), ["Progressing=True/RingChanging"]);
}
