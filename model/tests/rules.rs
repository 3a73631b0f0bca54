//! Every rule is there for a reason: without it a Get answers a removed value, in so many steps.

use groupcache_model::finding::{BOUNDS, Finding, NEEDED, PAIRS, SPARE};
use groupcache_model::model::Model;
use groupcache_model::rules::{Rule, Rules};

/// More than any of these searches finds: reaching it would make the result depend on the order of the search.
const STATES: usize = 5_000_000;

fn check<'a>(findings: impl Iterator<Item = &'a Finding>) {
    for finding in findings {
        let model =
            Model { scenario: finding.scenario, rules: Rules::without(finding.off), to_the_end: false };
        let outcome = model.search(STATES, |_| {});
        assert!(outcome.states < STATES, "{:?} in {} is cut short", finding.off, finding.scenario.name);
        assert_eq!(
            outcome.steps(),
            finding.steps,
            "without {:?} in {}: the shortest counterexample has another length",
            finding.off,
            finding.scenario.name
        );
    }
}

fn of(letter: char) -> impl Iterator<Item = &'static Finding> {
    NEEDED.iter().filter(move |finding| finding.off[0].name().starts_with(letter))
}

#[test]
fn without_a_rule_of_a_node_a_removed_value_is_answered() {
    check(of('K'));
}

#[test]
fn without_a_rule_of_grants_and_views_a_removed_value_is_answered() {
    check(of('G'));
}

#[test]
fn without_a_rule_of_the_coordinator_a_removed_value_is_answered() {
    check(of('R'));
}

#[test]
fn without_both_rules_of_a_pair_a_removed_value_is_answered() {
    check(PAIRS.iter());
}

#[test]
fn with_a_bound_below_the_window_all_rules_do_not_suffice() {
    check(BOUNDS.iter());
}

#[test]
fn the_spare_rules_break_nothing_where_they_were_tried() {
    check(SPARE.iter());
}

#[test]
fn every_rule_has_a_finding() {
    for &rule in Rule::ALL {
        let found = [NEEDED, PAIRS, SPARE].concat().iter().any(|finding| finding.off.contains(&rule));
        assert!(found, "nothing says what {} is good for", rule.name());
    }
}
