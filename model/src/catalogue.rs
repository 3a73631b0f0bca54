//! The scenarios by name: which views, which faults, which bounds.

use crate::scenario::Scenario;
use crate::view::View;

const A: u8 = 0;
const B: u8 = 1;
const C: u8 = 2;
const D: u8 = 3;

const AB: View = View::of(0b011, [A, B]);
const ABC: View = View::of(0b111, [A, B]);

/// Three nodes in one settled view.
pub const ONE_VIEW: Scenario = Scenario {
    name: "one-view",
    text: "three nodes in one settled view",
    views: &[ABC],
    restarts: 1,
    ..Scenario::BASE
};

/// One view, two flights, one restart of anyone.
pub const ONE_VIEW_FLIGHTS: Scenario =
    Scenario { name: "one-view-flights", text: "the same, two flights", flights: 2, ..ONE_VIEW };

/// One view in which every node beats as it likes.
pub const ONE_VIEW_FREE: Scenario = Scenario {
    name: "one-view-free",
    text: "the same, every node beats as it likes",
    free: 0b111,
    ..ONE_VIEW
};

/// One view, a wider window.
pub const ONE_VIEW_WIDE: Scenario =
    Scenario { name: "one-view-wide", text: "one view, B = 2, W = 2", window: 2, ..ONE_VIEW };

/// One view, a wider window and a longer bound.
pub const ONE_VIEW_LONG: Scenario =
    Scenario { name: "one-view-long", text: "one view, B = 3, W = 3", bound: 3, window: 3, ..ONE_VIEW };

/// Two nodes.
pub const TWO_NODES: Scenario = Scenario {
    name: "two-nodes",
    text: "two nodes in one view, all free, three flights, one restart",
    nodes: 2,
    views: &[AB],
    free: 0b11,
    flights: 3,
    restarts: 1,
    ..Scenario::BASE
};

/// The key's owner changes from A to B.
pub const OWNER_CHANGE: Scenario = Scenario {
    name: "owner-change",
    text: "the owner changes from A to B, the new one peeks",
    views: &[ABC, View::of(0b111, [B, A])],
    peeks: true,
    ..Scenario::BASE
};

/// The key's owner has changed from C to B a moment ago.
pub const PEEKS: Scenario = Scenario {
    name: "peeks",
    text: "the owner has just changed from C to B, which peeks",
    views: &[View::of(0b111, [C, A]), View::of(0b111, [B, A])],
    start: 1,
    peeks: true,
    ..Scenario::BASE
};

/// Four nodes and a bound below the window.
pub const FOUR_SHORT: Scenario =
    Scenario { name: "four-short", text: "peeks-four with B = 2 below W = 3", window: 3, ..PEEKS_FOUR };

/// Four nodes, B = W.
pub const FOUR_EQUAL: Scenario =
    Scenario { name: "four-equal", text: "peeks-four with B = W = 2", window: 2, ..PEEKS_FOUR };

/// The same with a restart.
pub const PEEKS_RESTART: Scenario =
    Scenario { name: "peeks-restart", text: "the same, one restart", restarts: 1, ..PEEKS };

/// The same with bars that expire.
pub const PEEKS_EXPIRY: Scenario = Scenario {
    name: "peeks-expiry",
    text: "the same as peeks with W = 2, A removes, bars expire after D = B + W",
    window: 2,
    coordinators: 0b1,
    bar_expiry: 4,
    ..PEEKS
};

/// Four nodes.
pub const PEEKS_FOUR: Scenario = Scenario {
    name: "peeks-four",
    text: "the owner has just changed from C to D, which peeks; A removes, B restarts",
    nodes: 4,
    views: &[
        View { grantors: 0b111, ..View::of(0b1111, [C, A]) },
        View { grantors: 0b111, ..View::of(0b1111, [D, A]) },
    ],
    start: 1,
    peeks: true,
    coordinators: 0b1,
    called_first: true,
    unheard: 0b100,
    restarts: 1,
    restarting: 0b10,
    ..Scenario::BASE
};

/// C joins in two steps and becomes the owner.
pub const JOIN: Scenario = Scenario {
    name: "join",
    text: "C joins in two steps and becomes the owner",
    views: &[AB, View { joining: 0b100, ..AB }, View::of(0b111, [C, A])],
    peeks: true,
    ..Scenario::BASE
};

/// C leaves at once.
pub const LEAVE: Scenario = Scenario {
    name: "leave",
    text: "C, the owner, leaves in one step",
    views: &[View::of(0b111, [C, A]), AB],
    peeks: true,
    ..Scenario::BASE
};

/// C drains, then leaves.
pub const DRAIN: Scenario = Scenario {
    name: "drain",
    text: "C, the owner, drains and then leaves",
    views: &[View::of(0b111, [C, A]), View { draining: 0b100, ..AB }, AB],
    peeks: true,
    ..Scenario::BASE
};

/// The grantors change from all three to C alone.
pub const GRANTORS_IN: Scenario = Scenario {
    name: "grantor-c",
    text: "the grantors change from A, B and C to C alone",
    views: &[ABC, View { grantors: 0b100, ..ABC }],
    ..Scenario::BASE
};

/// The grantors change from all three to A alone.
pub const GRANTORS_OUT: Scenario = Scenario {
    name: "grantor-a",
    text: "the grantors change from A, B and C to A alone",
    views: &[ABC, View { grantors: 0b001, ..ABC }],
    ..Scenario::BASE
};

/// Three nodes become one over four views.
pub const SHRINK: Scenario = Scenario {
    name: "shrink",
    text: "three nodes become one over four views",
    views: &[
        ABC,
        View { grantors: 0b100, ..ABC },
        View { grantors: 0b100, ..View::of(0b110, [B, C]) },
        View::of(0b100, [C, C]),
    ],
    ..Scenario::BASE
};

/// C leaves at once and joins again.
pub const REJOIN: Scenario = Scenario {
    name: "rejoin",
    text: "C, the owner, leaves in one step and joins again in two",
    views: &[View::of(0b111, [C, A]), AB, View { joining: 0b100, ..AB }, View::of(0b111, [C, A])],
    ..Scenario::BASE
};

/// C leaves at once and B restarts.
pub const LEAVE_RESTART: Scenario = Scenario {
    name: "leave-restart",
    text: "the same, B may restart",
    restarts: 1,
    restarting: 0b10,
    ..LEAVE
};

/// C joins where B alone grants.
pub const JOIN_ONE_GRANTOR: Scenario = Scenario {
    name: "join-one-grantor",
    text: "C joins in two steps, B is the only grantor",
    views: &[
        View { grantors: 0b010, ..AB },
        View { grantors: 0b010, joining: 0b100, ..AB },
        View { grantors: 0b010, ..View::of(0b111, [C, A]) },
    ],
    peeks: true,
    ..Scenario::BASE
};

/// Grants that arrive late.
pub const LATE_GRANTS: Scenario = Scenario {
    name: "late-grants",
    text: "one view, grants to C arrive late",
    late_grants: true,
    restarts: 0,
    ..ONE_VIEW
};

/// Bars that expire.
pub const BAR_EXPIRY: Scenario =
    Scenario { name: "bar-expiry", text: "one view, bars expire after D = B + W", bar_expiry: 3, ..ONE_VIEW };

/// C joins three others, A is the only grantor, D removes.
pub const JOIN_FOUR: Scenario = Scenario {
    name: "join-four",
    text: "C joins A, B and D in two steps; A alone grants, B owns, D removes",
    nodes: 4,
    views: &[
        View { grantors: 0b1, ..View::of(0b1011, [B, D]) },
        View { grantors: 0b1, joining: 0b100, ..View::of(0b1011, [B, D]) },
        View { grantors: 0b1, ..View::of(0b1111, [B, D]) },
    ],
    coordinators: 0b1000,
    ..Scenario::BASE
};

/// A cluster begins: everyone joins, then everyone is active.
pub const FIRST: Scenario = Scenario {
    name: "first",
    text: "a cluster begins: all join in a view that nobody grants in, then all are active",
    views: &[View { joining: 0b111, ..View::of(0, [A, B]) }, View::of(0b111, [C, A])],
    peeks: true,
    restarts: 1,
    ..Scenario::BASE
};

/// Everyone drains and joins again.
pub const ALL_DRAIN: Scenario = Scenario {
    name: "all-drain",
    text: "all drain in a view that nobody grants in, and are active again after all have joined",
    views: &[
        View::of(0b111, [C, A]),
        View { draining: 0b111, ..View::of(0, [C, A]) },
        View { joining: 0b111, ..View::of(0, [C, A]) },
        View::of(0b111, [C, A]),
    ],
    ..Scenario::BASE
};

/// All scenarios.
pub const ALL: &[Scenario] = &[
    ONE_VIEW,
    ONE_VIEW_FLIGHTS,
    ONE_VIEW_FREE,
    TWO_NODES,
    LATE_GRANTS,
    BAR_EXPIRY,
    OWNER_CHANGE,
    PEEKS,
    PEEKS_RESTART,
    PEEKS_EXPIRY,
    PEEKS_FOUR,
    FOUR_SHORT,
    FOUR_EQUAL,
    ONE_VIEW_WIDE,
    ONE_VIEW_LONG,
    REJOIN,
    JOIN,
    JOIN_ONE_GRANTOR,
    JOIN_FOUR,
    LEAVE,
    LEAVE_RESTART,
    DRAIN,
    GRANTORS_IN,
    GRANTORS_OUT,
    SHRINK,
    FIRST,
    ALL_DRAIN,
];

/// The scenario of that name.
#[must_use]
pub fn named(name: &str) -> Option<Scenario> {
    ALL.iter().find(|scenario| scenario.name == name).copied()
}
