//! Whole runs: the same seed is the same run, promises are kept, and the judges see when they are not.

use groupcache_group::simulation::Rule;
use groupcache_sim::mutations;
use groupcache_sim::world::{self, Options};

/// Seeds that a debug build can afford; `cargo xtask sim` runs them by the hundred.
const SEEDS: std::ops::Range<u64> = 1..5;

#[test]
fn the_same_seed_gives_the_same_run() {
    let options = Options::default();
    let runs = [11, 11, 12].map(|seed| world::run(seed, &options));
    assert!(runs[0].tally.events > 10_000);
    assert_eq!(runs[0].digest, runs[1].digest);
    assert_eq!(runs[0].tally, runs[1].tally);
    assert_ne!(runs[0].digest, runs[2].digest);
}

#[test]
fn every_promise_is_kept_in_calm_and_in_trouble() {
    for seed in SEEDS {
        let outcome = world::run(seed, &Options::default());
        assert!(outcome.broken.is_empty(), "seed {seed}: {:?}", outcome.broken);
        let tally = outcome.tally;
        assert!(tally.succeeded > 100 && tally.hot_hits > 100 && tally.across > 20, "{tally}");
        assert_eq!(tally.calm.0, tally.calm.1, "a Remove failed without a fault");
        assert!(tally.faults.values().sum::<u64>() > 2, "{tally}");
    }
}

#[test]
fn a_rule_that_is_not_in_force_breaks_its_promise() {
    for (rule, promise) in [
        (Rule::Fence, "P1"),
        (Rule::HotIsALeaf, "K6"),
        (Rule::OwnDeadline, "flight"),
        (Rule::OneLoad, "P4"),
        (Rule::SecondOwner, "P4"),
    ] {
        let caught = mutations::hunt(rule, 1, 10);
        let broken = caught.outcome.map(|outcome| outcome.broken[0].promise);
        assert_eq!(broken, Some(promise), "{rule:?}");
    }
}
