//! What each rule is good for: the scenario that breaks without it, or the reason why none does.

use crate::catalogue::{
    FOUR_SHORT, GRANTORS_IN, GRANTORS_OUT, JOIN_FOUR, JOIN_ONE_GRANTOR, LATE_GRANTS, LEAVE, LEAVE_RESTART,
    ONE_VIEW, OWNER_CHANGE, PEEKS, PEEKS_EXPIRY, PEEKS_FOUR, PEEKS_RESTART, SHRINK,
};
use crate::rules::Rule::{
    self, G1Majorities, G1UnderView, G2Lapse, G3Barred, G3Newer, G3Older, G3Self, G3Sending, G4Report,
    G4Silent, G5Cumulative, G5WaitAll, G5WaitMajority, G6Keep, G6Settled, K1Forget, K1Generation, K1OneStep,
    K2Join, K2JoinLater, K2Keep, K2Peek, K3Join, K3Keep, K3Young, K4View, K4Window, K5Copies, K5Flights,
    K5Generation, K6Forward, K6Hot, K6Serve, R1InTime, R1Learn, R1Views, R1Wait, R2Learn, R2Unreached,
    R2Views, R2Wait, R3Confirm, R3InTime, R3Learn, R3Round, R4LateAck, R4Own, R4Restart, R5Deadline, R5Renew,
};
use crate::scenario::Scenario;

/// One search with a known end.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The rules switched off.
    pub off: &'static [Rule],
    /// Where.
    pub scenario: Scenario,
    /// The shortest way to a broken promise, in steps; `None` if there is none in this scenario.
    pub steps: Option<usize>,
}

const fn breaks(off: &'static [Rule], scenario: Scenario, steps: usize) -> Finding {
    Finding { off, scenario, steps: Some(steps) }
}

const fn holds(off: &'static [Rule], scenario: Scenario) -> Finding {
    Finding { off, scenario, steps: None }
}

/// Rules that break a promise when they alone are switched off.
pub const NEEDED: &[Finding] = &[
    breaks(&[K1Generation], ONE_VIEW, 6),
    breaks(&[K1Forget], ONE_VIEW, 5),
    breaks(&[K1OneStep], ONE_VIEW, 7),
    breaks(&[K2Keep], ONE_VIEW, 7),
    breaks(&[K2Join], ONE_VIEW, 6),
    breaks(&[K2JoinLater], ONE_VIEW, 7),
    breaks(&[K2Peek], OWNER_CHANGE, 7),
    breaks(&[K3Keep], ONE_VIEW, 16),
    breaks(&[K3Join], ONE_VIEW, 14),
    breaks(&[K3Young], LEAVE, 8),
    breaks(&[K4Window], ONE_VIEW, 7),
    breaks(&[K4View], LEAVE_RESTART, 12),
    breaks(&[K5Copies], ONE_VIEW, 13),
    breaks(&[K5Generation], ONE_VIEW, 15),
    breaks(&[K5Flights], ONE_VIEW, 13),
    breaks(&[G1Majorities], GRANTORS_IN, 13),
    breaks(&[G3Sending], LATE_GRANTS, 14),
    breaks(&[G3Older], LEAVE, 8),
    breaks(&[G3Barred], ONE_VIEW, 13),
    breaks(&[G4Silent], PEEKS_FOUR, 21),
    breaks(&[G4Report], ONE_VIEW, 14),
    breaks(&[G5Cumulative], SHRINK, 5),
    breaks(&[G5WaitAll], GRANTORS_OUT, 15),
    breaks(&[G5WaitMajority], LEAVE, 5),
    breaks(&[G6Keep], JOIN_FOUR, 9),
    breaks(&[G6Settled], JOIN_FOUR, 9),
    breaks(&[R1Views], LEAVE, 4),
    breaks(&[R1Learn], JOIN_ONE_GRANTOR, 10),
    breaks(&[R1InTime], ONE_VIEW, 7),
    breaks(&[R2Views], LEAVE, 9),
    breaks(&[R2Wait], ONE_VIEW, 11),
    breaks(&[R3Round], ONE_VIEW, 8),
    breaks(&[R3Confirm], ONE_VIEW, 13),
    breaks(&[R3InTime], ONE_VIEW, 17),
    breaks(&[R4Restart], PEEKS_RESTART, 17),
    breaks(&[R4LateAck], PEEKS, 17),
    breaks(&[R4Own], PEEKS, 19),
];

/// Rules that cover for each other: either alone suffices, without both a promise breaks.
pub const PAIRS: &[Finding] = &[
    breaks(&[K3Young, R1Wait], ONE_VIEW, 13),
    breaks(&[R2Learn, R3Learn], GRANTORS_IN, 16),
    breaks(&[R2Unreached, G3Self], GRANTORS_IN, 11),
    breaks(&[R5Deadline, R5Renew], PEEKS_EXPIRY, 23),
];

/// Bounds that the rules rest on: the full protocol breaks where they are not kept.
pub const BOUNDS: &[Finding] = &[breaks(&[], FOUR_SHORT, 27)];

/// Rules without which no search has found a broken promise; the scenario is one that was exhausted.
pub const SPARE: &[Finding] = &[
    holds(&[K6Hot], ONE_VIEW),
    holds(&[K6Serve], ONE_VIEW),
    holds(&[K6Forward], ONE_VIEW),
    holds(&[G1UnderView], ONE_VIEW),
    holds(&[G2Lapse], JOIN_ONE_GRANTOR),
    holds(&[G3Newer], JOIN_ONE_GRANTOR),
    holds(&[R1Wait], ONE_VIEW),
    holds(&[R5Deadline], PEEKS_EXPIRY),
    holds(&[R5Renew], PEEKS_EXPIRY),
];
