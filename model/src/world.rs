//! The whole cluster at one instant: nodes, flights and the one Remove. All times are ticks still to go.
//!
//! Only what is *old* is kept here: a copy or a flight whose value was loaded before the Remove was called.
//! A new value can be answered by anyone at any time and harms nobody, so a node without an old copy is the
//! same state whether it holds a new one or none.

/// The most nodes a scenario can have.
pub const NODES: usize = 4;
/// The most flights that can be under way at once.
pub const FLIGHTS: usize = 3;
/// The most views a scenario can have.
pub const VIEWS: usize = 4;

/// The most ticks that a grant, a window or a wait can have left; a bar may have twice as many.
pub const LONGEST: u8 = 3;

/// Which old copy a node holds. Main can do whatever hot can, and answers peers besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Copied {
    /// None, or a new one.
    Nothing,
    /// Fetched from an owner: answers Gets at this node.
    Hot,
    /// Loaded, or taken over by a peek: answers peers too.
    Main,
}

/// One node, as a cache and as a grantor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The view it has adopted, counted from 0.
    pub view: u8,
    /// Its old copy.
    pub copy: Copied,
    /// Ticks left of the window after its last purge.
    pub window: u8,
    /// Ticks until its coverage runs out and it lapses.
    pub held: u8,
    /// As an asker: ticks left of the grant from each grantor, under its own view.
    pub grants: [u8; NODES],
    /// As an asker: ticks left of a grant whose reply is still on the way, 0 for none.
    pub late: [u8; NODES],
    /// Its acknowledgement of this round's purge is on the way and carries this view, counted from 1; 0 for none.
    pub ack: u8,
    /// As a grantor: ticks left of what it last granted to each node.
    pub lent: [u8; NODES],
    /// As a grantor: ticks for which it grants nothing after its start.
    pub silent: u8,
    /// As a grantor: whom it bars, one bit per node.
    pub bars: u8,
    /// As a grantor: ticks until it drops its bars (only where bars expire).
    pub bars_left: u8,
}

impl Node {
    /// A process that knows nothing but its view.
    pub const fn new(view: u8) -> Node {
        Node {
            view,
            copy: Copied::Nothing,
            window: 0,
            held: 0,
            ack: 0,
            grants: [0; NODES],
            late: [0; NODES],
            lent: [0; NODES],
            silent: 0,
            bars: 0,
            bars_left: 0,
        }
    }
}

/// What a flight does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No flight in this place.
    Empty,
    /// Asks the loader; started before the Remove was called, so its value is old.
    Load,
    /// Asks an owner.
    Fetch,
    /// Asks the previous owner's main.
    Peek,
    /// A fetch that joined the owner's peek and now waits for what that brings.
    Relay,
}

/// How far a flight is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The question is on its way.
    Asked,
    /// The answer, an old value, is on its way.
    Answered,
    /// The answer has passed the check of the generation and is about to be stored.
    Checked,
}

/// Who may join a flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Join {
    /// Nobody.
    Nobody,
    /// Every Get at its node, and a peer's request if it is no fetch.
    Anyone,
    /// The same, once the node's window is over (only with a rule switched off).
    AfterWindow,
    /// A load begun without grants: every Get at its node until it is a window old.
    WhileYoung,
}

/// One fetch, peek or old load under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flight {
    /// What it does.
    pub kind: Kind,
    /// The node it runs at.
    pub at: u8,
    /// The node it asks (its own node for a load).
    pub target: u8,
    /// How far it is.
    pub stage: Stage,
    /// Whether its result may still be kept.
    pub keep: bool,
    /// Who may join it.
    pub join: Join,
    /// Ticks for which it is young (only for `Join::WhileYoung`).
    pub young: u8,
}

impl Flight {
    /// The place of a flight that is not there.
    pub const EMPTY: Flight = Flight {
        kind: Kind::Empty,
        at: 0,
        target: 0,
        stage: Stage::Asked,
        keep: false,
        join: Join::Nobody,
        young: 0,
    };
}

/// How far the Remove is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Not called yet: what is loaded now is old.
    Before,
    /// Purging everyone.
    Round1,
    /// Collecting bars and waiting for grants to run out.
    Barring,
    /// Purging everyone once more.
    Round2,
    /// It returned success.
    Done,
}

/// The Remove, as its coordinator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remove {
    /// How far it is.
    pub phase: Phase,
    /// The coordinator.
    pub at: u8,
    /// The settled view when it was called.
    pub settled: u8,
    /// The newest view it reckons with.
    pub view: u8,
    /// Ticks left of the round's window.
    pub timer: u8,
    /// Who has acknowledged in this round.
    pub acked: u8,
    /// Who did not acknowledge round 1.
    pub unreached: u8,
    /// Grantors whose bars count.
    pub barring: u8,
    /// Grantors that have confirmed their bars in round 2.
    pub confirmed: u8,
    /// Ticks until the last grant to an unreached node has run out.
    pub wait: u8,
    /// Ticks until the first bar may expire (only where bars expire).
    pub deadline: u8,
}

impl Remove {
    /// The Remove before it is called.
    pub const BEFORE: Remove = Remove {
        phase: Phase::Before,
        at: 0,
        settled: 0,
        view: 0,
        timer: 0,
        acked: 0,
        unreached: 0,
        barring: 0,
        confirmed: 0,
        wait: 0,
        deadline: 0,
    };
}

/// The whole cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    /// The nodes; those that the scenario does not have stay as they were made.
    pub nodes: [Node; NODES],
    /// The flights, in order, empty places last.
    pub flights: [Flight; FLIGHTS],
    /// The Remove.
    pub remove: Remove,
    /// The newest settled view.
    pub settled: u8,
    /// For each view: ticks for which a majority of the grantors of the view before has had it.
    pub adopted: [u8; VIEWS],
    /// How many restarts may still happen.
    pub restarts: u8,
}

/// The bit of a node in a set of nodes.
#[inline]
#[must_use]
pub const fn bit(node: usize) -> u8 {
    1 << node
}

/// The nodes of a set, lowest first.
#[inline]
pub fn each(set: u8) -> impl Iterator<Item = usize> {
    (0..NODES).filter(move |&node| set & bit(node) != 0)
}
