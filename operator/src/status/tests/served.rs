//! What applications are told: where to call, and how each group does.

use groupcache_proto::cluster::Group;

use super::*;
use crate::report::Reach;

fn group(name: &str) -> Group {
    Group { name: name.into(), loader: "people".into(), ..Group::default() }
}

#[test]
fn a_group_counts_the_nodes_that_run_it_and_how_its_loader_does_there() {
    let reach = |w: &mut World, node: &str, reach: Reach| {
        w.report(node).loaders.insert(("users".into(), "people".into()), reach);
    };
    let world = World::well().with(|w| {
        w.configuration.groups = vec![group("users"), group("rights")];
        reach(w, "c-0", Reach::Answers);
        reach(w, "c-1", Reach::Fails("it is down".into()));
        // What is in force has not reached this one, so what it says is of something else.
        reach(w, "c-2", Reach::Answers);
        w.report("c-2").applied = None;
    });
    let told: Vec<_> = world.status().groups;
    let counts = |at: usize| (told[at].applied, told[at].loader_answers, told[at].loader_fails);
    assert_eq!((told[0].name.as_str(), told[0].loader.as_str(), counts(0)), ("users", "people", (2, 1, 1)));
    assert_eq!((told[1].name.as_str(), counts(1)), ("rights", (2, 0, 0)));
}

#[test]
fn the_endpoints_name_the_services_that_are_made() {
    let world = World::well().with(|w| w.cluster.metadata.namespace = Some("shop".into()));
    let told = world.status().endpoints.expect("endpoints");
    assert_eq!((told.client.as_str(), told.balanced.as_str()), ("c.shop.svc:8080", "c-lb.shop.svc:8080"));
}
