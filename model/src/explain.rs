//! A counterexample as sentences: what happens at each step, and which Get breaks the promise.

use crate::judge::{Source, Violation};
use crate::model::{Model, Step};
use crate::network::Reply;
use crate::world::{Copied, Flight, Kind, Phase, Stage, World, each};

impl Model {
    /// The steps and the broken promise, a sentence each.
    #[must_use]
    pub fn explain(&self, way: &[(Step, World)], violation: &Violation) -> Vec<String> {
        let mut before = self.start();
        let mut lines = Vec::new();
        for &(step, after) in way {
            let mut line = self.sentence(step, &before, &after);
            line += &self.aside(step, &before, &after);
            lines.push(line);
            before = after;
        }
        let from = match violation.from {
            Source::Copy(Copied::Hot) => "from its hot cache".to_owned(),
            Source::Copy(_) => "from its main cache".to_owned(),
            Source::Flight => "by joining a flight".to_owned(),
            Source::Peer(peer) => format!("by asking {}", letter(peer)),
        };
        lines.push(format!(
            "BROKEN: a Get at {} that starts now answers the old value {from}",
            letter(violation.node)
        ));
        lines
    }

    fn sentence(&self, step: Step, before: &World, after: &World) -> String {
        let remove = &before.remove;
        let coordinator = letter(usize::from(remove.at));
        match step {
            Step::Tick => "a tick passes".to_owned(),
            Step::Beat(asker, grantor) => {
                format!("{} beats {}, which grants", letter(asker), letter(grantor))
            }
            Step::LateBeat(asker, grantor) => {
                format!("{} beats {}, which grants; the reply is slow", letter(asker), letter(grantor))
            }
            Step::Granted(asker, grantor) => {
                format!("the grant of {} arrives at {}", letter(grantor), letter(asker))
            }
            Step::Adopt(node, view) => format!("{} adopts view {}", letter(node), view + 1),
            Step::Restart(node, view) => format!("{} restarts with view {}", letter(node), view + 1),
            Step::Start(flight) => started(&flight),
            Step::Answer(place) => self.answered(before, &before.flights[place]),
            Step::Finish(place) => self.finished(&before.flights[place]),
            Step::Call(node) => format!("a client calls Remove at {}", letter(node)),
            Step::Purge(node) => {
                let round = if remove.phase == Phase::Round1 { 1 } else { 2 };
                format!("the purge of round {round} reaches {}, which acknowledges", letter(node))
            }
            Step::SlowPurge(node) => {
                format!("a purge reaches {}; its acknowledgement is slow", letter(node))
            }
            Step::Acknowledged(node) => format!("the acknowledgement of {} arrives", letter(node)),
            Step::PurgeUnheard(node) => {
                format!("a purge reaches {}; its acknowledgement is late or lost", letter(node))
            }
            Step::Conclude => {
                format!("{coordinator} gives up waiting; unreached: {}", letters(after.remove.unreached))
            }
            Step::Bar(grantor) => {
                format!(
                    "{} bars {}; {coordinator} has to wait {} ticks",
                    letter(grantor),
                    letters(remove.unreached),
                    after.remove.wait
                )
            }
            Step::Round2 => format!("{coordinator} begins round 2"),
            Step::ForeignLift(grantor) => {
                format!("{} lifts its bars for another Remove", letter(grantor))
            }
            Step::Confirm(grantor) => format!("{} confirms its bar", letter(grantor)),
            Step::Succeed => "the Remove returns SUCCESS".to_owned(),
        }
    }

    /// What follows from a step without being done by anyone.
    fn aside(&self, step: Step, before: &World, after: &World) -> String {
        let mut aside = String::new();
        for node in 0..self.scenario.nodes {
            let restarted = matches!(step, Step::Restart(other, _) if other == node);
            if before.nodes[node].held > 0 && after.nodes[node].held == 0 && !restarted {
                aside += &format!("; {} lapses", letter(node));
            }
            if matches!(step, Step::Tick) && before.nodes[node].bars > 0 && after.nodes[node].bars == 0 {
                aside += &format!("; the bar at {} expires", letter(node));
            }
        }
        if after.settled > before.settled {
            aside += &format!("; view {} is settled", after.settled + 1);
        }
        if after.remove.view > before.remove.view && !matches!(step, Step::Call(_)) {
            aside += &format!("; the coordinator learns view {}", after.remove.view + 1);
        }
        aside
    }

    fn answered(&self, world: &World, flight: &Flight) -> String {
        let target = usize::from(flight.target);
        let (what, reply) = match flight.kind {
            Kind::Fetch => ("fetch", self.fetched(world, target)),
            _ => ("peek", self.peeked(world, target)),
        };
        let asker = letter(usize::from(flight.at));
        let target = letter(target);
        match reply {
            Reply::Old => format!("{target} answers the {what} of {asker} with the old value"),
            Reply::New => format!("{target} answers the {what} of {asker} with a new value or none"),
            Reply::AwaitPeek(_) => format!("the {what} of {asker} joins the peek at {target}"),
            Reply::Forward(owner) => {
                format!("{target} passes the {what} of {asker} on to {}", letter(usize::from(owner)))
            }
        }
    }

    fn finished(&self, flight: &Flight) -> String {
        let what = match flight.kind {
            Kind::Load => "load",
            Kind::Peek => "peek",
            _ => "fetch",
        };
        let fate = if flight.stage == Stage::Checked {
            "is stored"
        } else if !flight.keep {
            "ends and is not kept"
        } else if self.rules.has(crate::rules::Rule::K1OneStep) {
            "ends and is kept"
        } else {
            "ends and passes the check"
        };
        format!("the {what} at {} {fate}", letter(usize::from(flight.at)))
    }
}

fn started(flight: &Flight) -> String {
    let at = letter(usize::from(flight.at));
    let target = letter(usize::from(flight.target));
    match flight.kind {
        Kind::Load => format!("a Get at {at} starts a load"),
        Kind::Peek => format!("a Get at {at} starts a peek at {target}"),
        _ => format!("a Get at {at} starts a fetch from {target}"),
    }
}

fn letter(node: usize) -> char {
    char::from(b'A' + node as u8)
}

fn letters(set: u8) -> String {
    if set == 0 { "nobody".to_owned() } else { each(set).map(letter).collect() }
}
