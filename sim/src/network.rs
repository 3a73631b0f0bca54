//! What lies between nodes: messages take their time, are late, held, lost or refused, and die with their receiver.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_group::loader::LoadError;
use groupcache_group::peer::{BarAck, BarRequest, BeatReply, KeysHeld, PurgeAck, PurgeRequest, StoreAck};
use groupcache_group::value::{Key, Outcome};
use groupcache_ring::{Snapshot, Version};
use tokio::sync::mpsc;

use crate::chance::Chance;
use crate::plan::{MOST_NODES, OPERATOR, Plan};

/// Nodes, and the operator.
const ENDS: usize = MOST_NODES + 1;

/// An entry on its way: its times are told as spans, for clocks need not agree.
#[derive(Clone, Debug)]
pub struct Carried {
    /// What the source said.
    pub outcome: Outcome,
    /// How long ago its load started.
    pub age: Duration,
    /// For how long it may be used.
    pub remaining: Option<Duration>,
}

/// What one node asks of another.
#[derive(Clone, Debug)]
pub enum Call {
    /// The key, as its owner; and for how long the asker waits.
    Fetch(Key, Duration),
    /// See [`PurgeRequest`].
    Purge(PurgeRequest),
    /// A key, its value, and the generation it was purged to.
    Store(Key, Carried, u64),
    /// A look into main.
    Peek(Key),
    /// Which keys it holds that the asker owns, so many at most.
    Keys(usize),
    /// A look into main for many keys.
    PeekMany(Vec<Key>),
    /// A grant.
    Beat,
    /// See [`BarRequest`].
    Bar(BarRequest),
    /// The snapshot in force there.
    Pull,
    /// A snapshot of the operator's.
    Push(Arc<Snapshot>),
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Said {
    /// A sign of life; the answer is still to come.
    Pending,
    /// An entry, and whether it may be kept.
    Fetched(Version, Result<(Carried, bool), LoadError>),
    /// It gave up at the asker's deadline.
    Late,
    /// See [`PurgeAck`].
    Purged(PurgeAck),
    /// See [`StoreAck`].
    Stored(StoreAck),
    /// What main holds.
    Peeked(Version, Option<Carried>),
    /// See [`KeysHeld`].
    Held(KeysHeld),
    /// What main holds of many keys.
    PeekedMany(Version, Vec<Option<Carried>>),
    /// See [`BeatReply`].
    Beaten(BeatReply),
    /// See [`BarAck`].
    Barred(BarAck),
    /// The snapshot in force.
    Snapshot(Option<Arc<Snapshot>>),
    /// The version in force after a push.
    Adopted(Version),
    /// Nobody listens there, or the connection broke.
    Unreachable,
    /// It takes no such call now.
    Refused,
}

/// What a letter says.
#[derive(Clone, Debug)]
pub enum Body {
    /// A call, with the version its asker has adopted.
    Call(Version, Call),
    /// An answer.
    Said(Said),
    /// The asker waits no longer.
    Gone,
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Which call it belongs to.
    pub call: u64,
    /// From whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// The process it was sent to.
    pub process: u64,
    /// What it says.
    pub body: Body,
}

/// What a link from one node to another does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// It carries.
    #[default]
    Open,
    /// It swallows: the other end hears nothing.
    Silent,
    /// It refuses at once.
    Refusing,
    /// It keeps everything until it opens again.
    Held,
}

/// Who waits for a call's answers, and of whom.
#[derive(Debug)]
struct Waiting {
    from: usize,
    to: usize,
    answers: mpsc::UnboundedSender<Said>,
}

/// All links and what is on them.
#[derive(Debug)]
pub struct Network {
    chance: Chance,
    sent: u64,
    on_the_way: BTreeMap<(u64, u64), Letter>,
    held: Vec<Letter>,
    links: [[Link; ENDS]; ENDS],
    /// Milliseconds that everything to and from a node takes longer.
    pub slow: [u64; ENDS],
    /// Messages in a thousand to and from a node that are lost.
    pub loss: [u64; ENDS],
    /// The process at each node; 0: none.
    pub processes: [u64; ENDS],
    /// True: now and then a message takes very long.
    pub stragglers: bool,
    window: u64,
    waiting: BTreeMap<u64, Waiting>,
    calls: u64,
}

impl Network {
    /// All links open.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Network {
            chance: Chance::new(plan.seed, 2),
            sent: 0,
            on_the_way: BTreeMap::new(),
            held: Vec::new(),
            links: [[Link::Open; ENDS]; ENDS],
            slow: [0; ENDS],
            loss: [0; ENDS],
            processes: [0; ENDS],
            stragglers: false,
            window: plan.window,
            waiting: BTreeMap::new(),
            calls: 0,
        }
    }

    /// A new call by a node; where its answers will come.
    pub fn call(
        &mut self,
        now: u64,
        from: usize,
        to: usize,
        version: Version,
        call: Call,
    ) -> (u64, mpsc::UnboundedReceiver<Said>) {
        self.calls += 1;
        let (answers, coming) = mpsc::unbounded_channel();
        self.waiting.insert(self.calls, Waiting { from, to, answers });
        self.send(now, self.calls, from, to, Body::Call(version, call));
        (self.calls, coming)
    }

    /// Nobody waits for this call's answers any more.
    pub fn hang_up(&mut self, now: u64, call: u64, from: usize, to: usize) {
        if self.waiting.remove(&call).is_some() {
            self.send(now, call, from, to, Body::Gone);
        }
    }

    /// Sends a message, if the link takes it.
    pub fn send(&mut self, now: u64, call: u64, from: usize, to: usize, body: Body) {
        let letter = Letter { call, from, to, process: self.processes[to], body };
        match self.links[from][to] {
            Link::Silent => {}
            Link::Refusing => self.refuse(now, &letter),
            Link::Held => self.held.push(letter),
            Link::Open => {
                let lost = self.loss[from].max(self.loss[to]);
                if lost == 0 || !self.chance.permille(lost) {
                    self.post(now, letter);
                }
            }
        }
    }

    /// Tells the asker that nobody took its call, as a closed port does.
    pub fn refuse(&mut self, now: u64, letter: &Letter) {
        if matches!(letter.body, Body::Call(..)) {
            let (call, from, to) = (letter.call, letter.to, letter.from);
            let body = Body::Said(Said::Unreachable);
            let back = Letter { call, from, to, process: self.processes[to], body };
            self.post(now, back);
        }
    }

    fn post(&mut self, now: u64, letter: Letter) {
        // What is slow is slow by more and by less: messages overtake each other.
        let slow = self.slow[letter.from] + self.slow[letter.to];
        let mut takes = self.chance.number(1, 4) + self.chance.number(slow / 3, slow * 5 / 3);
        if self.stragglers {
            match self.chance.number(0, 1000) {
                0..4 => takes += self.chance.number(self.window * 8 / 10, self.window * 16 / 10),
                4..40 => takes += self.chance.number(10, 200),
                _ => {}
            }
        }
        self.sent += 1;
        self.on_the_way.insert((now + takes, self.sent), letter);
    }

    /// The messages that arrive now.
    pub fn arrived(&mut self, now: u64) -> Vec<Letter> {
        let later = self.on_the_way.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut self.on_the_way, later);
        due.into_values().filter(|letter| self.links[letter.from][letter.to] != Link::Silent).collect()
    }

    /// An answer has come: hands it to whoever waits for it.
    pub fn answered(&mut self, call: u64, said: Said) {
        let last = !matches!(said, Said::Pending);
        let waiting = if last { self.waiting.remove(&call) } else { None };
        if let Some(waiting) = waiting.as_ref().or_else(|| self.waiting.get(&call)) {
            let _ = waiting.answers.send(said);
        }
    }

    /// The number of a call whose answers the caller finds by itself.
    pub fn next_call(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }

    /// Puts every link in the state that `state` says; what was held and is no more goes on its way.
    pub fn set_links(&mut self, now: u64, state: impl Fn(usize, usize) -> Link) {
        for from in 0..ENDS {
            for to in 0..ENDS {
                self.links[from][to] = state(from, to);
            }
        }
        for letter in std::mem::take(&mut self.held) {
            match self.links[letter.from][letter.to] {
                Link::Held => self.held.push(letter),
                Link::Open => self.post(now, letter),
                Link::Silent | Link::Refusing => {}
            }
        }
    }

    /// A process has ended: about half of those who wait for it hear so at once, where the link carries.
    pub fn ended(&mut self, now: u64, node: usize) {
        self.processes[node] = 0;
        let askers = self.waiting.iter().filter(|(_, waiting)| waiting.to == node);
        let askers: Vec<(u64, usize)> = askers.map(|(call, waiting)| (*call, waiting.from)).collect();
        for (call, asker) in askers {
            if self.chance.permille(500) {
                self.send(now, call, node, asker, Body::Said(Said::Unreachable));
            }
        }
    }

    /// A process has begun.
    pub fn began(&mut self, node: usize, process: u64) {
        self.processes[node] = process;
        self.processes[OPERATOR] = u64::MAX;
    }

    /// Messages so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }
}
