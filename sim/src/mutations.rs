//! Proof that the judges can see: with each rule switched off in turn, some seed must break a promise.

use groupcache_group::simulation::Rule;

use crate::world::{self, Options, Outcome};

/// Each rule, in words. The others have a switch and no line here: no seed of 150 shows that they are off; the model does.
pub const RULES: &[(Rule, &str)] = &[
    (Rule::Fence, "fence off"),
    (Rule::RaiseAtOnce, "generation bumped after the purge"),
    (Rule::Window, "window off"),
    (Rule::JoinInWindow, "joining a fetch inside the window"),
    (Rule::WindowedPeeks, "take-over without window"),
    (Rule::HotIsALeaf, "hot answers peers"),
    (Rule::Grants, "grants not asked"),
    (Rule::SecondRound, "no second round"),
    (Rule::JoiningKeeps, "joining keeps"),
    (Rule::ForwardOnce, "a forwarded request forwarded again"),
    (Rule::TwoTables, "one flight table"),
    (Rule::OwnDeadline, "leader's deadline for all"),
    (Rule::PurgeAll, "owner-first purge only"),
    (Rule::OneLoad, "a load for each Get"),
    (Rule::SecondOwner, "a load where the owner is unreachable"),
    (Rule::Lapse, "a lapse drops nothing"),
    (Rule::Barred, "the barred are granted"),
    (Rule::WaitOut, "the grants of the unreached are not waited out"),
];

/// What came of a mutation.
#[derive(Clone, Debug)]
pub struct Caught {
    /// Seeds run, the one that broke included.
    pub seeds: u64,
    /// The run that broke; `None`: none did.
    pub outcome: Option<Outcome>,
}

/// Runs seeds from `first` on with the rule off, until one breaks or `most` did not.
#[must_use]
pub fn hunt(rule: Rule, first: u64, most: u64) -> Caught {
    let options = Options { rules_off: vec![rule], keep_journal: false };
    for seed in first..first + most {
        let outcome = world::run(seed, &options);
        if !outcome.broken.is_empty() {
            return Caught { seeds: seed - first + 1, outcome: Some(outcome) };
        }
    }
    Caught { seeds: most, outcome: None }
}
