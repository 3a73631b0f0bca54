//! The whole protocol holds in every small scenario, searched to its end, and a Remove can succeed there.

use groupcache_model::catalogue::{
    BAR_EXPIRY, FIRST, GRANTORS_IN, JOIN, JOIN_ONE_GRANTOR, LEAVE, ONE_VIEW, ONE_VIEW_FLIGHTS, ONE_VIEW_WIDE,
    PEEKS, PEEKS_EXPIRY, PEEKS_RESTART, TWO_NODES,
};
use groupcache_model::model::Model;
use groupcache_model::rules::Rules;
use groupcache_model::scenario::Scenario;
use groupcache_model::search::{Outcome, Verdict};

fn search(scenario: Scenario, to_the_end: bool, states: usize) -> Outcome {
    Model { scenario, rules: Rules::FULL, to_the_end }.search(states, |_| {})
}

fn hold(scenarios: &[Scenario]) {
    for &scenario in scenarios {
        let outcome = search(scenario, false, 5_000_000);
        let exhausted = matches!(outcome.verdict, Verdict::Exhausted);
        assert!(exhausted, "{}: {:?} after {} states", scenario.name, outcome.verdict, outcome.states);
    }
}

#[test]
fn one_settled_view_holds() {
    hold(&[TWO_NODES, ONE_VIEW, ONE_VIEW_FLIGHTS, ONE_VIEW_WIDE, BAR_EXPIRY]);
}

#[test]
fn a_changed_owner_that_peeks_holds() {
    hold(&[PEEKS, PEEKS_RESTART, PEEKS_EXPIRY]);
}

#[test]
fn joins_and_leaves_hold() {
    hold(&[JOIN, JOIN_ONE_GRANTOR, LEAVE]);
}

#[test]
fn the_first_view_of_a_cluster_in_which_nobody_grants_holds() {
    hold(&[FIRST]);
}

#[test]
fn a_change_of_grantors_holds() {
    hold(&[GRANTORS_IN]);
}

#[test]
fn a_remove_can_succeed_with_and_without_bars() {
    for scenario in [TWO_NODES, ONE_VIEW, PEEKS, PEEKS_EXPIRY, JOIN_ONE_GRANTOR] {
        let outcome = search(scenario, true, 400_000);
        assert!(outcome.after_bars > 0, "{}: no Remove succeeds after bars", scenario.name);
        assert!(outcome.successes > outcome.after_bars, "{}: no Remove succeeds in round 1", scenario.name);
    }
}

#[test]
fn a_search_says_when_it_is_cut_short() {
    let outcome = search(ONE_VIEW, false, 1_000);
    assert!(matches!(outcome.verdict, Verdict::CutShort), "{:?}", outcome.verdict);
}
