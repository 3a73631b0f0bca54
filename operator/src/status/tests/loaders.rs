//! What is said of the loaders.

use super::*;
use crate::report::Reach;

fn world(at: &[(&str, &str, Reach)]) -> World {
    World::well().with(|w| {
        w.cluster.spec.groups =
            serde_json::from_value(json!([{"name": "users", "maxBytes": "1Mi"}])).expect("groups");
        for (node, loader, reach) in at {
            w.report(node).loaders.insert(("users".into(), (*loader).into()), reach.clone());
        }
    })
}

#[test]
fn a_loader_that_fails_somewhere_is_named_with_where_and_how() {
    let down = || Reach::Fails("loader people: it is down".into());
    assert_eq!(world(&[]).differs(), ["LoadersReachable=Unknown/NotAsked"]);
    assert_eq!(world(&[("c-0", "people", Reach::NotAsked)]).differs(), ["LoadersReachable=Unknown/NotAsked"]);
    let well = world(&[("c-0", "people", Reach::Answers), ("c-1", "people", Reach::NotAsked)]);
    assert_eq!(well.differs(), ["LoadersReachable=True/Answering"]);
    let world =
        world(&[("c-0", "people", down()), ("c-1", "people", Reach::Answers), ("c-2", "people", down())]);
    assert_eq!(world.differs(), ["LoadersReachable=False/Failing"]);
    assert_eq!(
        world.message("LoadersReachable"),
        "people fails for users at c-0, c-2: loader people: it is down"
    );
}

#[test]
fn a_node_that_leaves_has_no_say() {
    let world = world(&[("c-1", "people", Reach::Fails("it is down".into()))]).with(|w| {
        w.endpoints[1].terminating = true;
    });
    assert!(!world.differs().contains(&"LoadersReachable=False/Failing".to_owned()));
}
