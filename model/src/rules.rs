//! The rules of the purge protocol, each with a switch, so that a search can be run without it.

/// One part of one rule that can be switched off on its own.
///
/// The letter and number are the rule's name in the protocol; the word after it says which part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rule {
    /// A result is kept only if no purge came since its flight started.
    K1Generation,
    /// A purge forgets the key's flights: no later Get joins them.
    K1Forget,
    /// The generation check and the store are one step.
    K1OneStep,
    /// What was fetched in the window after a purge is not kept.
    K2Keep,
    /// What was fetched in the window after a purge is not joined.
    K2Join,
    /// What was fetched in the window is not joined after the window either.
    K2JoinLater,
    /// A peek counts as a fetch.
    K2Peek,
    /// What a node started while it might not serve copies is not kept.
    K3Keep,
    /// What a node started while it might not serve copies is not joined.
    K3Join,
    /// Without grants not even a load younger than the window is joined.
    K3Young,
    /// A process begins with an open window.
    K4Window,
    /// A process never begins at a lower view than it had.
    K4View,
    /// A lapse drops the copies.
    K5Copies,
    /// A lapse raises the generation.
    K5Generation,
    /// A lapse forgets the flights.
    K5Flights,
    /// Hot copies do not answer peers.
    K6Hot,
    /// A node answers peers from main only while it may serve copies.
    K6Serve,
    /// A forwarded request is not forwarded again.
    K6Forward,
    /// A node needs majorities of every view since the settled one, not of its own alone.
    G1Majorities,
    /// Only grants obtained under the node's own view count; adopting a view suspends serving.
    G1UnderView,
    /// Adopting a view in which the node is Joining or no member is a lapse at once.
    G2Lapse,
    /// A grant runs from the sending of the beat, not from the arrival of the reply.
    G3Sending,
    /// A grantor refuses a beat of an older view.
    G3Older,
    /// A grantor adopts a newer view before it answers the beat.
    G3Newer,
    /// A grantor grants nothing to whom it has barred.
    G3Barred,
    /// A grantor that has barred itself does not grant itself.
    G3Self,
    /// A restarted grantor grants nothing for the staleness bound.
    G4Silent,
    /// A restarted grantor asked to bar reports what it may have granted before.
    G4Report,
    /// A view is settled only if the one before it is.
    G5Cumulative,
    /// That all members have adopted must have held for the staleness bound.
    G5WaitAll,
    /// That a majority of grantors has adopted must have held for the staleness bound.
    G5WaitMajority,
    /// A Joining member owns and keeps nothing, whatever grants it holds.
    G6Keep,
    /// A Joining member becomes Active only after its Joining view has settled.
    G6Settled,
    /// Round 1 goes to the members of every view since the settled one.
    R1Views,
    /// A newer view in an acknowledgement of round 1 extends the fan-out.
    R1Learn,
    /// Round 1 succeeds only with all acknowledgements inside the window.
    R1InTime,
    /// Nobody is unreached before the window has passed.
    R1Wait,
    /// A blocking set of every view since the settled one bars, not of the newest alone.
    R2Views,
    /// A newer view in the reply to a bar extends the set.
    R2Learn,
    /// The coordinator waits until the last grants have run out.
    R2Wait,
    /// Unreached grantors do not count towards a blocking set.
    R2Unreached,
    /// There is a second round.
    R3Round,
    /// The grantors whose bars counted confirm them in round 2.
    R3Confirm,
    /// A newer view learnt in round 2 sends the coordinator back to the bars.
    R3Learn,
    /// Round 2 succeeds only with all acknowledgements inside the window.
    R3InTime,
    /// A restart of the barred node does not lift the bar.
    R4Restart,
    /// A late acknowledgement of round 1 does not lift the bar.
    R4LateAck,
    /// Bars expire: the coordinator must succeed before the first of them can have.
    R5Deadline,
    /// Bars expire: a confirmation in round 2 renews them.
    R5Renew,
}

use Rule::{
    G1Majorities, G1UnderView, G2Lapse, G3Barred, G3Newer, G3Older, G3Self, G3Sending, G4Report, G4Silent,
    G5Cumulative, G5WaitAll, G5WaitMajority, G6Keep, G6Settled, K1Forget, K1Generation, K1OneStep, K2Join,
    K2JoinLater, K2Keep, K2Peek, K3Join, K3Keep, K3Young, K4View, K4Window, K5Copies, K5Flights, K5Generation,
    K6Forward, K6Hot, K6Serve, R1InTime, R1Learn, R1Views, R1Wait, R2Learn, R2Unreached, R2Views, R2Wait,
    R3Confirm, R3InTime, R3Learn, R3Round, R4LateAck, R4Restart, R5Deadline, R5Renew,
};

impl Rule {
    /// All rules, in the protocol's order.
    pub const ALL: [Rule; 49] = [
        K1Generation,
        K1Forget,
        K1OneStep,
        K2Keep,
        K2Join,
        K2JoinLater,
        K2Peek,
        K3Keep,
        K3Join,
        K3Young,
        K4Window,
        K4View,
        K5Copies,
        K5Generation,
        K5Flights,
        K6Hot,
        K6Serve,
        K6Forward,
        G1Majorities,
        G1UnderView,
        G2Lapse,
        G3Sending,
        G3Older,
        G3Newer,
        G3Barred,
        G3Self,
        G4Silent,
        G4Report,
        G5Cumulative,
        G5WaitAll,
        G5WaitMajority,
        G6Keep,
        G6Settled,
        R1Views,
        R1Learn,
        R1InTime,
        R1Wait,
        R2Views,
        R2Learn,
        R2Wait,
        R2Unreached,
        R3Round,
        R3Confirm,
        R3Learn,
        R3InTime,
        R4Restart,
        R4LateAck,
        R5Deadline,
        R5Renew,
    ];

    /// The rule's name as the command line takes it, for example `K2Peek`.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}")
    }

    /// The rule of that name, whatever its case.
    #[must_use]
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.into_iter().find(|rule| rule.name().eq_ignore_ascii_case(name))
    }
}

/// A set of rules that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// Every rule in force: the protocol as it is to be built.
    pub const FULL: Rules = Rules((1 << Rule::ALL.len()) - 1);

    /// These rules less one.
    #[must_use]
    pub const fn without(self, rule: Rule) -> Rules {
        Rules(self.0 & !(1 << rule as u64))
    }

    /// Whether the rule is in force.
    #[must_use]
    #[inline]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u64) != 0
    }
}
