//! What goes wrong, for how long, and what that does to the links.

use crate::chance::Chance;
use crate::network::Link;
use crate::plan::{MOST_NODES, OPERATOR, Plan};
use crate::truth::Mood;

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The nodes whose bits are set and the others do not hear each other.
    Split(u16),
    /// One does not hear another.
    OneWay(usize, usize),
    /// A node is cut off by links of that kind.
    Alone(usize, Link),
    /// Two nodes' messages are held.
    Held(usize, usize),
    /// Everything to and from a node takes so much longer.
    Slow(usize, u64),
    /// So many messages in a thousand to and from a node are lost.
    Loss(usize, u64),
    /// A process is stopped.
    Stopped(usize),
    /// A machine sleeps.
    Asleep(usize),
    /// A process has crashed; it comes back with its disk.
    Crashed(usize),
    /// A pod is gone with its disk; another one of its name comes.
    Lost(usize),
    /// The source is not well.
    Source(Mood),
    /// No operator runs; another one takes over.
    NoOperator,
    /// The operator does not reach these nodes.
    Unheard(u16),
    /// Messages take very long now and then.
    Stragglers,
}

impl Trouble {
    /// What it is counted as.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Trouble::Split(_) => "partitions",
            Trouble::OneWay(..) => "one-way cuts",
            Trouble::Alone(_, Link::Refusing) => "refusals",
            Trouble::Alone(..) => "cut-offs",
            Trouble::Held(..) => "holds",
            Trouble::Slow(..) => "slow nodes",
            Trouble::Loss(..) => "losses",
            Trouble::Stopped(_) => "freezes",
            Trouble::Asleep(_) => "sleeps",
            Trouble::Crashed(_) => "crashes",
            Trouble::Lost(_) => "lost pods",
            Trouble::Source(_) => "loader faults",
            Trouble::NoOperator => "operator losses",
            Trouble::Unheard(_) => "late views",
            Trouble::Stragglers => "straggles",
        }
    }

    /// The node whose process it stops, if it does.
    #[must_use]
    pub fn stops(self) -> Option<usize> {
        match self {
            Trouble::Stopped(node) | Trouble::Asleep(node) | Trouble::Crashed(node) | Trouble::Lost(node) => {
                Some(node)
            }
            _ => None,
        }
    }

    /// What it does to a link.
    fn link(self, from: usize, to: usize) -> Link {
        let bit = |mask: u16, node: usize| mask & (1 << node) != 0;
        match self {
            Trouble::Split(mask)
                if from != OPERATOR && to != OPERATOR && bit(mask, from) != bit(mask, to) =>
            {
                Link::Silent
            }
            Trouble::OneWay(one, other) if (from, to) == (one, other) => Link::Silent,
            Trouble::Alone(node, link) if from == node || to == node => link,
            Trouble::Held(one, other) if (from, to) == (one, other) || (to, from) == (one, other) => {
                Link::Held
            }
            Trouble::Unheard(mask) if from == OPERATOR && bit(mask, to) => Link::Silent,
            _ => Link::Open,
        }
    }
}

/// What goes wrong at the moment.
#[derive(Debug)]
pub struct Faults {
    chance: Chance,
    next: u64,
    between: u64,
    most: usize,
    present: Vec<(Trouble, u64)>,
}

impl Faults {
    /// Nothing yet.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let (between, most) = (plan.between_faults, plan.faults);
        Faults { chance: Chance::new(plan.seed, 5), next: 0, between, most, present: Vec::new() }
    }

    /// What is wrong now.
    pub fn present(&self) -> impl Iterator<Item = Trouble> + '_ {
        self.present.iter().map(|(trouble, _)| *trouble)
    }

    /// What has come to its end.
    pub fn ended(&mut self, now: u64, all: bool) -> Vec<Trouble> {
        let over = |until: u64| all || until <= now;
        let ended =
            self.present.iter().filter(|(_, until)| over(*until)).map(|(trouble, _)| *trouble).collect();
        self.present.retain(|(_, until)| !over(*until));
        ended
    }

    /// True if something new is due.
    pub fn is_due(&mut self, now: u64) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.chance.number(self.between / 4, self.between * 2);
        self.present.len() < self.most
    }

    /// True if the next thing is to be a change of the membership, not a fault.
    pub fn is_change(&mut self) -> bool {
        self.chance.permille(220)
    }

    /// A stream for whoever decides on that.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// Something goes wrong from now on at these nodes; `None` if it cannot.
    pub fn begin(&mut self, now: u64, nodes: &[usize]) -> Option<Trouble> {
        let trouble = self.draw(nodes);
        if trouble.stops().is_some_and(|node| self.present().any(|other| other.stops() == Some(node))) {
            return None;
        }
        let lasts = match self.chance.number(0, 100) {
            0..50 => self.chance.number(50, 1500),
            50..85 => self.chance.number(1500, 6000),
            _ => self.chance.number(6000, 15_000),
        };
        self.present.push((trouble, now + lasts));
        Some(trouble)
    }

    fn draw(&mut self, nodes: &[usize]) -> Trouble {
        let chance = &mut self.chance;
        let node = nodes[chance.place(nodes.len())];
        let other = nodes[chance.place(nodes.len())];
        let mask = chance.number(1, 1 << MOST_NODES) as u16;
        match chance.number(0, 100) {
            0..12 => Trouble::Split(mask),
            12..18 => Trouble::OneWay(node, other),
            18..28 => {
                Trouble::Alone(node, chance.one_of(&[Link::Silent, Link::Silent, Link::Held, Link::Refusing]))
            }
            28..36 => Trouble::Held(node, other),
            36..42 => Trouble::Slow(node, chance.one_of(&[20, 80, 200, 600])),
            42..48 => Trouble::Loss(node, chance.one_of(&[20, 100, 400])),
            48..57 => Trouble::Stopped(node),
            57..64 => Trouble::Asleep(node),
            64..75 => Trouble::Crashed(node),
            75..80 => Trouble::Lost(node),
            80..86 => Trouble::Source(chance.one_of(&[
                Mood::Slow,
                Mood::Slow,
                Mood::Failing,
                Mood::Panicking,
                Mood::Hanging,
            ])),
            86..90 => Trouble::NoOperator,
            90..95 => Trouble::Unheard(mask),
            _ => Trouble::Stragglers,
        }
    }

    /// What all of it does to a link: the worst.
    #[must_use]
    pub fn link(&self, from: usize, to: usize) -> Link {
        let worst = |link: &Link| match link {
            Link::Open => 0,
            Link::Held => 1,
            Link::Refusing => 2,
            Link::Silent => 3,
        };
        self.present().map(|trouble| trouble.link(from, to)).max_by_key(worst).unwrap_or_default()
    }
}
