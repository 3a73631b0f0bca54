//! What a search starts from and what may happen in it: views, bounds and the nodes that are set free.

use crate::view::View;

/// One bounded world. Everything named here may happen in every order and at every time.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub name: &'static str,
    /// What happens in it, in one line.
    pub text: &'static str,
    /// How many nodes there are, A first.
    pub nodes: usize,
    /// The views, oldest first.
    pub views: &'static [View],
    /// The view that all nodes have at the start, from 0.
    pub start: u8,
    /// The newest settled view at the start, from 0.
    pub settled: u8,
    /// B, the staleness bound, in ticks; 1 would be degenerate, every tick would be a lapse.
    pub bound: u8,
    /// W, the window, in ticks.
    pub window: u8,
    /// D, the life of a bar in ticks, 0 for ever.
    pub bar_expiry: u8,
    /// Nodes that beat whom they want when they want; the others renew whatever they can at once.
    pub free: u8,
    /// Nodes at which the Remove may be called.
    pub coordinators: u8,
    /// Nodes whose acknowledgements may be slow or lost and whom purges may reach late.
    pub unheard: u8,
    /// Whether the Remove is called before anything else happens.
    pub called_first: bool,
    /// How many flights can be under way at once.
    pub flights: usize,
    /// How many restarts there may be in all.
    pub restarts: u8,
    /// Which nodes may restart.
    pub restarting: u8,
    /// Whether a new owner peeks at the previous one.
    pub peeks: bool,
    /// Whether a grant of a free node may arrive late.
    pub late_grants: bool,
}

impl Scenario {
    /// Whether it keeps the one bound that the protocol demands of its user: B is not below W.
    #[must_use]
    pub const fn sound(&self) -> bool {
        self.bound >= self.window
    }

    /// What scenarios have in common: B = 2, W = 1, three nodes, C free, one flight, no restart.
    pub const BASE: Scenario = Scenario {
        name: "",
        text: "",
        nodes: 3,
        views: &[],
        start: 0,
        settled: 0,
        bound: 2,
        window: 1,
        bar_expiry: 0,
        free: 0b100,
        coordinators: 0b111,
        unheard: 0b1111,
        called_first: false,
        flights: 1,
        restarts: 0,
        restarting: 0b1111,
        peeks: false,
        late_grants: false,
    };
}
