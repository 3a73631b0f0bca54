//! Grants against what they are for: a node that is barred serves nothing once the time that was told has passed.
//!
//! Messages take their time, processes start anew, the bound changes, and every clock runs at its own speed, by up to one part in 64.

use std::collections::BTreeSet;

use groupcache_ring::{Member, Snapshot};
use proptest::prelude::*;

use super::*;
use crate::peer::Beaten;

/// Who asks. It grants nothing.
const ASKER: &str = "x";

/// Parts of a second of true time in a second of a clock that runs true; others run by 129 or 130 of them.
const TRUE_SPEED: u64 = 128;

const FIRST_BOUND: Duration = Duration::from_secs(1);

/// What reckoning in whole nanoseconds may add up to.
const ROUNDING: Duration = Duration::from_micros(1);

/// Messages on their way at a time.
const MOST_MESSAGES: usize = 32;

#[derive(Clone, Debug)]
enum Step {
    /// The asker asks a grantor.
    Beats(usize),
    /// The message that was sent so many before the last one arrives.
    Arrives(usize),
    /// A Remove bars the asker at the grantors whose bits are set.
    Bars(u8),
    /// A Remove lifts its bars.
    Lifts(usize),
    /// A grantor starts anew.
    Restarts(usize),
    /// A node, the last is the asker, hears of another bound.
    Rebounds(usize, u64),
    WaitsMillis(u64),
}

fn step(restarts: bool) -> impl Strategy<Value = Step> {
    let change = if restarts {
        (0..5usize).prop_map(Step::Restarts).boxed()
    } else {
        (0..6usize, prop::sample::select(vec![300, 1_000, 4_000]))
            .prop_map(|(node, millis)| Step::Rebounds(node, millis))
            .boxed()
    };
    prop_oneof![
        6 => (0..5usize).prop_map(Step::Beats),
        10 => (0..3usize).prop_map(Step::Arrives),
        2 => any::<u8>().prop_map(Step::Bars),
        1 => (0..4usize).prop_map(Step::Lifts),
        1 => change,
        4 => (0..400u64).prop_map(Step::WaitsMillis),
    ]
}

/// A clock of one's own: it starts anywhere and runs at its own speed.
#[derive(Clone, Copy)]
struct Pace {
    epoch: Instant,
    speed: u64,
}

impl Pace {
    fn at(&self, time: Duration) -> Instant {
        self.epoch + Duration::from_nanos(time.as_nanos() as u64 * self.speed / TRUE_SPEED)
    }

    /// The first true time at which it shows `instant`.
    fn when(&self, instant: Instant) -> Duration {
        let shown = instant.saturating_duration_since(self.epoch).as_nanos() as u64;
        Duration::from_nanos((shown * TRUE_SPEED).div_ceil(self.speed))
    }
}

enum Message {
    Beat { to: usize, term: u64, sent: Instant, bound: Duration },
    Grant { by: usize, term: u64, sent: Instant, length: Duration },
}

struct Remove {
    id: RemoveId,
    barred_by: BTreeSet<usize>,
    /// When what the grantors said has passed by the coordinator's clock.
    due: Duration,
}

struct World {
    time: Duration,
    view: Arc<View>,
    names: Vec<String>,
    grantors: Vec<(Pace, Grantor)>,
    bounds: Vec<Duration>,
    asker: (Pace, Asker),
    coordinator: Pace,
    on_their_way: Vec<Message>,
    removes: Vec<Remove>,
    /// Ways in which Removes ended, to see that the test tests anything.
    succeeded: u64,
}

fn view(me: &str, names: &[String]) -> Arc<View> {
    let all = names.iter().map(String::as_str).chain([ASKER]);
    let members = all.map(|name| Member::active(name, format!("{name}:1"))).collect();
    let version = Version::new(1, 1);
    Arc::new(View::new(me, Arc::new(Snapshot::new("u", version, version, names.to_vec(), members).unwrap())))
}

impl World {
    fn new(count: usize, speeds: &[u64]) -> Self {
        let epoch = Instant::now();
        let pace = |at: usize| Pace { epoch, speed: speeds[at] };
        let names: Vec<_> = (0..count).map(|n| format!("g{n}")).collect();
        let grantors: Vec<_> =
            (0..count).map(|n| (pace(n), Grantor::new(pace(n).at(Duration::ZERO), FIRST_BOUND))).collect();
        let mut asker = Asker::new(FIRST_BOUND);
        asker.adopt(&view(ASKER, &names));
        World {
            // What a predecessor granted has run out.
            time: FIRST_BOUND * 2,
            view: view("g0", &names),
            names,
            grantors,
            bounds: vec![FIRST_BOUND; count],
            asker: (pace(5), asker),
            coordinator: pace(6),
            on_their_way: Vec::new(),
            removes: Vec::new(),
            succeeded: 0,
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Beats(to) if to < self.grantors.len() && self.on_their_way.len() < MOST_MESSAGES => {
                let (pace, asker) = &self.asker;
                let Some(asking) = asker.to_ask() else { return };
                let (sent, bound) = (pace.at(self.time), asker.bound());
                self.on_their_way.push(Message::Beat { to, term: asking.term, sent, bound });
            }
            Step::Arrives(back) if back < self.on_their_way.len() => {
                let message = self.on_their_way.remove(self.on_their_way.len() - 1 - back);
                self.arrives(&message);
            }
            Step::Bars(set) => self.bars(set),
            Step::Lifts(at) if at < self.removes.len() => {
                let remove = self.removes.remove(at);
                for grantor in remove.barred_by {
                    self.grantors[grantor].1.lift(remove.id, &[ASKER.to_owned()]);
                }
            }
            Step::Restarts(at) if at < self.grantors.len() => {
                let (pace, grantor) = &mut self.grantors[at];
                *grantor = Grantor::new(pace.at(self.time), self.bounds[at]);
            }
            Step::Rebounds(at, millis) => {
                let bound = Duration::from_millis(millis);
                match self.grantors.get_mut(at) {
                    Some((_, grantor)) => {
                        grantor.set_bound(bound);
                        self.bounds[at] = bound;
                    }
                    None => self.asker.1.set_bound(bound),
                }
            }
            Step::WaitsMillis(millis) => self.waits(Duration::from_millis(millis)),
            _ => {}
        }
    }

    fn arrives(&mut self, message: &Message) {
        match *message {
            Message::Beat { to, term, sent, bound } => {
                let (pace, grantor) = &mut self.grantors[to];
                let reply = grantor.beaten(ASKER, self.view.version(), &self.view, pace.at(self.time));
                if let Beaten::Granted(length) = reply.said {
                    self.on_their_way.push(Message::Grant { by: to, term, sent, length: length.min(bound) });
                }
            }
            Message::Grant { by, term, sent, length } => {
                let (pace, asker) = &mut self.asker;
                asker.lapses(pace.at(self.time));
                asker.enter(&self.names[by], term, sent, length);
                asker.cover();
            }
        }
    }

    fn bars(&mut self, set: u8) {
        let barred_by: BTreeSet<_> = (0..self.grantors.len()).filter(|at| set >> at & 1 == 1).collect();
        if barred_by.len() < self.view.snapshot().as_prior().blocking() {
            return;
        }
        let id = RemoveId(u64::from(set) << 32 | self.time.as_millis() as u64);
        let mut silent_from = self.coordinator.at(self.time);
        for at in &barred_by {
            let (pace, grantor) = &mut self.grantors[*at];
            let remaining = grantor.bar(id, &[ASKER.to_owned()], pace.at(self.time));
            silent_from = silent_from.max(self.coordinator.at(self.time) + remaining);
        }
        self.removes.push(Remove { id, barred_by, due: self.coordinator.when(silent_from) });
    }

    /// Time passes; each Remove that becomes due meanwhile is confirmed at that very moment.
    fn waits(&mut self, time: Duration) {
        let end = self.time + time;
        loop {
            let next = self.removes.iter().enumerate().min_by_key(|(_, remove)| remove.due);
            let Some((at, due)) = next.map(|(at, remove)| (at, remove.due)).filter(|(_, due)| *due <= end)
            else {
                break;
            };
            self.time = self.time.max(due);
            let remove = self.removes.remove(at);
            self.confirms(&remove);
        }
        self.time = end;
    }

    fn confirms(&mut self, remove: &Remove) {
        let held = remove.barred_by.iter().filter(|at| {
            let (pace, grantor) = &mut self.grantors[**at];
            grantor.confirm(remove.id, pace.at(self.time)).contains(&ASKER.to_owned())
        });
        if held.count() < self.view.snapshot().as_prior().blocking() {
            return;
        }
        self.succeeded += 1;
        let (pace, asker) = &self.asker;
        let now = pace.at(self.time);
        let over = asker.covered_until().map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        assert!(over <= ROUNDING, "barred by {:?}, and serves copies for {over:?} more", remove.barred_by);
    }
}

fn run(count: usize, speeds: &[u64], steps: &[Step]) -> u64 {
    let mut world = World::new(count, speeds);
    for step in steps {
        world.apply(step);
    }
    world.succeeded
}

fn speeds() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(TRUE_SPEED..=TRUE_SPEED + TRUE_SPEED / 64, 7)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_barred_serve_nothing_whatever_starts_anew(
        count in prop::sample::select(vec![1, 3, 5]), speeds in speeds(), steps in prop::collection::vec(step(true), 20..150)
    ) {
        run(count, &speeds, &steps);
    }

    #[test]
    fn the_barred_serve_nothing_while_the_bound_changes(
        count in prop::sample::select(vec![1, 3, 5]), speeds in speeds(), steps in prop::collection::vec(step(false), 20..150)
    ) {
        run(count, &speeds, &steps);
    }
}

/// With a lower bound the next grant is shorter; the one before it runs on, and a Remove has to wait for it.
#[test]
fn a_lowered_bound_does_not_hide_a_longer_grant_from_before() {
    let steps = [
        Step::Beats(0),
        Step::Arrives(0),
        Step::Arrives(0),
        Step::Rebounds(0, 400),
        Step::Rebounds(5, 400),
        Step::Beats(0),
        Step::Arrives(0),
        Step::Arrives(0),
        Step::Bars(1),
        Step::WaitsMillis(1_100),
    ];
    assert_eq!(run(1, &[TRUE_SPEED; 7], &steps), 1);
}

/// A node that knows of a higher bound before its grantor does must not serve for longer than the grantor reckons with.
#[test]
fn a_grant_lasts_no_longer_than_its_grantor_reckons() {
    let steps = [
        Step::Rebounds(5, 4_000),
        Step::Beats(0),
        Step::Arrives(0),
        Step::Arrives(0),
        Step::Bars(1),
        Step::WaitsMillis(1_100),
    ];
    assert_eq!(run(1, &[TRUE_SPEED; 7], &steps), 1);
}
