//! What the present faults do to the links of the simulated network.

use std::time::Duration;

use groupcache_sim::faults::{Faults, Trouble};
use groupcache_sim::network::Link;
use groupcache_sim::plan::{OPERATOR, Plan};
use groupcache_sim::shared::name;
use turmoil::Sim;

use crate::machine::Machine;

/// The longest that a message takes while nothing is slow.
const QUICK: Duration = Duration::from_millis(4);

/// Segments that a connection, and connections that a port may hold: more than a run brings.
const SEGMENTS: usize = 4096;

/// What the operator's machine is called.
pub const OPERATORS: &str = "operator";

/// A link between two machines, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sky {
    #[default]
    Open,
    /// Everything is kept until it opens again.
    Held,
    /// What the first sends is swallowed.
    First,
    /// What the second sends is swallowed.
    Second,
    /// Everything is swallowed.
    Silent,
}

/// One link, as it is set.
#[derive(Debug)]
struct Set {
    one: usize,
    other: usize,
    sky: Sky,
    longest: Duration,
    /// True if connections break now and then.
    frail: bool,
}

/// The links as they are set.
#[derive(Debug, Default)]
pub struct Weather(Vec<Set>);

impl Weather {
    /// A machine is there, with links to all others and to the operator.
    pub fn appears(&mut self, place: usize, others: impl Iterator<Item = usize>) {
        for other in others.chain([OPERATOR]) {
            self.0.push(Set { one: place, other, sky: Sky::Open, longest: QUICK, frail: false });
        }
    }

    /// Sets every link as the present faults want it.
    pub fn set(&mut self, net: &mut Sim<'_>, faults: &Faults, plan: &Plan) {
        for link in &mut self.0 {
            let sky = sky(faults, link.one, link.other);
            let (one, other) = (host(link.one), host(link.other));
            if sky != link.sky {
                change(net, (&one, link.sky), (&other, sky));
                link.sky = sky;
            }
            let longest = longest(faults, link.one, link.other, plan);
            if longest != link.longest {
                net.set_link_max_message_latency(one.as_str(), other.as_str(), longest);
                link.longest = longest;
            }
            let rate = loss(faults, link.one, link.other);
            if (rate > 0.0) != link.frail {
                net.set_link_fail_rate(one.as_str(), other.as_str(), rate);
                link.frail = rate > 0.0;
                if !link.frail && sky == Sky::Open {
                    net.repair(one.as_str(), other.as_str());
                }
            }
        }
    }
}

/// The name of a machine.
fn host(place: usize) -> String {
    if place == OPERATOR { OPERATORS.to_owned() } else { name(place) }
}

fn sky(faults: &Faults, one: usize, other: usize) -> Sky {
    // Seen from outside, a stopped process is one that says nothing until it goes on, and then answers all of it.
    let stopped = faults.present().any(|trouble| match trouble {
        Trouble::Stopped(node) | Trouble::Asleep(node) => node == one || node == other,
        _ => false,
    });
    let silent = |link| matches!(link, Link::Silent | Link::Refusing);
    match (faults.link(one, other), faults.link(other, one)) {
        (there, back) if silent(there) && silent(back) => Sky::Silent,
        (there, _) if silent(there) => Sky::First,
        (_, back) if silent(back) => Sky::Second,
        (there, back) if there == Link::Held || back == Link::Held || stopped => Sky::Held,
        _ => Sky::Open,
    }
}

fn change(net: &Sim<'_>, (one, from): (&str, Sky), (other, to): (&str, Sky)) {
    match from {
        Sky::Open => {}
        Sky::Held => net.release(one, other),
        Sky::First | Sky::Second | Sky::Silent => net.repair(one, other),
    }
    match to {
        Sky::Open => {}
        Sky::Held => net.hold(one, other),
        Sky::First => net.partition_oneway(one, other),
        Sky::Second => net.partition_oneway(other, one),
        Sky::Silent => net.partition(one, other),
    }
}

fn longest(faults: &Faults, one: usize, other: usize, plan: &Plan) -> Duration {
    let slow = faults.present().map(|trouble| match trouble {
        Trouble::Slow(node, by) if node == one || node == other => Duration::from_millis(by),
        Trouble::Stragglers => Duration::from_millis(plan.window * 2),
        _ => Duration::ZERO,
    });
    slow.fold(QUICK, Duration::max)
}

/// How often, of all messages, one breaks the link for a moment: whatever is on it then is lost for good, as are the connections.
fn loss(faults: &Faults, one: usize, other: usize) -> f64 {
    let lost = faults.present().map(|trouble| match trouble {
        Trouble::Loss(node, of) if node == one || node == other => of as f64 / 40_000.0,
        _ => 0.0,
    });
    lost.fold(0.0, f64::max)
}

/// The network of a run: quick, and chance from the seed.
#[must_use]
pub fn network<'a>(plan: &Plan) -> Sim<'a> {
    turmoil::Builder::new()
        .simulation_duration(Duration::MAX)
        .tick_duration(Duration::from_millis(1))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(QUICK)
        .tcp_capacity(SEGMENTS)
        .rng_seed(plan.seed)
        .enable_random_order()
        .build()
}

/// True if a machine may be given another process now.
#[must_use]
pub fn is_free(faults: &Faults, machine: &Machine) -> bool {
    faults.present().all(|trouble| trouble.stops() != Some(machine.place))
}
