//! The rules of the purge protocol, each with a switch, so that a search can be run without it.

macro_rules! rules {
    ($($name:ident $text:literal)*) => {
        /// One part of one rule that can be switched off on its own.
        ///
        /// The letter and number are the rule's name in the protocol; the word after it says which part.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule {
            $(#[doc = $text] $name,)*
        }

        impl Rule {
            /// All rules, in the protocol's order.
            pub const ALL: &[Rule] = &[$(Rule::$name),*];

            /// The rule's name as the command line takes it, for example `K2Peek`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Rule::$name => stringify!($name),)* }
            }

            /// What the rule says, in one sentence.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Rule::$name => $text,)* }
            }
        }
    };
}

rules! {
    K1Generation "A result is kept only if no purge came since its flight started."
    K1Forget "A purge forgets the key's flights: no later Get joins them."
    K1OneStep "The generation check and the store are one step."
    K2Keep "What was fetched in the window after a purge is not kept."
    K2Join "What was fetched in the window after a purge is not joined."
    K2JoinLater "What was fetched in the window is not joined after the window either."
    K2Peek "A peek counts as a fetch."
    K3Keep "What a node started while it might not serve copies is not kept."
    K3Join "What a node started while it might not serve copies is not joined."
    K3Young "Without grants not even a load younger than the window is joined."
    K4Window "A process begins with an open window."
    K4View "A process never begins at a lower view than it had."
    K5Copies "A lapse drops the copies."
    K5Generation "A lapse raises the generation."
    K5Flights "A lapse forgets the flights."
    K6Hot "Hot copies do not answer peers."
    K6Serve "A node answers peers from main only while it may serve copies."
    K6Forward "A forwarded request is not forwarded again."
    G1Majorities "A node needs majorities of every view since the settled one, not of its own alone."
    G1UnderView "Only grants obtained under the node's own view count; adopting a view suspends serving."
    G2Lapse "Adopting a view in which the node is Joining or no member is a lapse at once."
    G3Sending "A grant runs from the sending of the beat, not from the arrival of the reply."
    G3Older "A grantor refuses a beat of an older view."
    G3Newer "A grantor adopts a newer view before it answers the beat."
    G3Barred "A grantor grants nothing to whom it has barred."
    G3Self "A grantor that has barred itself does not grant itself."
    G4Silent "A restarted grantor grants nothing for the staleness bound."
    G4Report "A restarted grantor asked to bar reports what it may have granted before."
    G5Cumulative "A view is settled only if the one before it is."
    G5WaitAll "That all members have adopted must have held for the staleness bound."
    G5WaitMajority "That a majority of grantors has adopted must have held for the staleness bound."
    G6Keep "A Joining member owns and keeps nothing, whatever grants it holds."
    G6Settled "A Joining member becomes Active only after its Joining view has settled."
    R1Views "Round 1 goes to the members of every view since the settled one."
    R1Learn "A newer view in an acknowledgement of round 1 extends the fan-out."
    R1InTime "Round 1 succeeds only with all acknowledgements inside the window."
    R1Wait "Nobody is unreached before the window has passed."
    R2Views "A blocking set of every view since the settled one bars, not of the newest alone."
    R2Learn "A newer view in the reply to a bar extends the set."
    R2Wait "The coordinator waits until the last grants have run out."
    R2Unreached "Unreached grantors do not count towards a blocking set."
    R3Round "There is a second round."
    R3Confirm "The grantors whose bars counted confirm them in round 2."
    R3Learn "A newer view learnt in round 2 sends the coordinator back to the bars."
    R3InTime "Round 2 succeeds only with all acknowledgements inside the window."
    R4Restart "A restart of the barred node does not lift the bar."
    R4LateAck "A late acknowledgement of round 1 does not lift the bar."
    R4Own "A bar is lifted only for the Remove that set it, not by another Remove of any key."
    R5Deadline "Bars expire: the coordinator must succeed before the first of them can have."
    R5Renew "Bars expire: a confirmation in round 2 renews them."
}

impl Rule {
    /// The rule of that name, whatever its case.
    #[must_use]
    pub fn named(name: &str) -> Option<Rule> {
        Rule::ALL.iter().copied().find(|rule| rule.name().eq_ignore_ascii_case(name))
    }
}

/// A set of rules that are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules(u64);

impl Rules {
    /// Every rule in force: the protocol as it is to be built.
    pub const FULL: Rules = Rules((1 << Rule::ALL.len()) - 1);

    /// The protocol less these rules.
    #[must_use]
    pub fn without(off: &[Rule]) -> Rules {
        off.iter().fold(Rules::FULL, |rules, &rule| Rules(rules.0 & !(1 << rule as u64)))
    }

    /// Whether the rule is in force.
    #[must_use]
    #[inline]
    pub const fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u64) != 0
    }
}
