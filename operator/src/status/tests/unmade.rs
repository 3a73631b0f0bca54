//! What is said when children, or even the ledger, cannot be made.

use super::*;

#[test]
fn an_object_that_cannot_be_made_is_told_though_all_pods_are_well() {
    let world = World::well().with(|w| {
        let text = "Service c-lb was there before".to_owned();
        w.unmade.push(Problem { reason: crate::pods::NAME_TAKEN, text });
    });
    assert_eq!(world.differs(), ["Progressing=False/Stalled", "Degraded=True/NameTaken"]);
    assert_eq!(world.message("Degraded"), "Service c-lb was there before");
}

#[test]
fn without_a_ledger_the_status_says_why_and_keeps_the_rest() {
    let mut world = World::well();
    world.cluster.status = Some(world.status());
    let problem = Problem { reason: NAME_TAKEN, text: "ConfigMap c-ledger was there before".to_owned() };
    let status = without_ledger(&world.cluster, &[problem], world.now);
    let well = said(&World::well().status());
    let news: Vec<String> = said(&status).into_iter().filter(|line| !well.contains(line)).collect();
    assert_eq!(news, ["Progressing=False/Stalled", "Degraded=True/NameTaken"]);
    assert_eq!(status.conditions.len(), well.len());

    world.cluster.status = None;
    let never = said(&without_ledger(&world.cluster, &[], world.now));
    assert_eq!(never[0], "Available=False/NoNodeServes");
}
