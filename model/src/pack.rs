//! A world as 256 bits, so that a search holds tens of millions of them and compares them exactly.

use crate::world::{Copied, FLIGHTS, Flight, Join, Kind, NODES, Node, Phase, Remove, Stage, VIEWS, World};

/// A world in its smallest form; equal worlds pack equally.
pub(crate) type Packed = [u64; 4];

/// Writes or reads fields of a few bits one after the other.
struct Bits {
    words: Packed,
    at: usize,
}

impl Bits {
    #[inline]
    fn put(&mut self, value: u64, width: usize) {
        let (word, shift) = (self.at / 64, self.at % 64);
        self.words[word] |= value << shift;
        if shift + width > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.at += width;
    }

    #[inline]
    fn take(&mut self, width: usize) -> u64 {
        let (word, shift) = (self.at / 64, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        value & ((1 << width) - 1)
    }
}

/// A little register that is filled from the low end and emptied from there again.
struct Register {
    value: u64,
    at: u32,
}

impl Register {
    #[inline]
    fn put(&mut self, value: u8, width: u32) {
        self.value |= u64::from(value) << self.at;
        self.at += width;
    }

    #[inline]
    fn take(&mut self, width: u32) -> u8 {
        let value = (self.value >> self.at) & ((1 << width) - 1);
        self.at += width;
        value as u8
    }
}

const NODE_BITS: usize = 42;
const FLIGHT_BITS: usize = 14;
const REMOVE_BITS: usize = 32;
const REST_BITS: usize = 10;
const _: () = assert!(NODES * NODE_BITS + FLIGHTS * FLIGHT_BITS + REMOVE_BITS + REST_BITS <= 256);

/// The world's packed form.
pub(crate) fn pack(world: &World) -> Packed {
    let mut bits = Bits { words: [0; 4], at: 0 };
    for (number, node) in world.nodes.iter().enumerate() {
        bits.put(pack_node(number, node), NODE_BITS);
    }
    for flight in &world.flights {
        bits.put(pack_flight(flight), FLIGHT_BITS);
    }
    bits.put(pack_remove(&world.remove), REMOVE_BITS);
    let mut rest = Register { value: 0, at: 0 };
    rest.put(world.settled, 2);
    rest.put(world.restarts, 2);
    // The first view has no view before it.
    for &ticks in &world.adopted[1..] {
        rest.put(ticks, 2);
    }
    bits.put(rest.value, REST_BITS);
    bits.words
}

/// The world of a packed form.
pub(crate) fn unpack(packed: &Packed) -> World {
    let mut bits = Bits { words: *packed, at: 0 };
    let nodes = std::array::from_fn(|number| unpack_node(number, bits.take(NODE_BITS)));
    let flights = [0; FLIGHTS].map(|_| unpack_flight(bits.take(FLIGHT_BITS)));
    let remove = unpack_remove(bits.take(REMOVE_BITS));
    let mut rest = Register { value: bits.take(REST_BITS), at: 0 };
    let settled = rest.take(2);
    let restarts = rest.take(2);
    let mut adopted = [0; VIEWS];
    for ticks in &mut adopted[1..] {
        *ticks = rest.take(2);
    }
    World { nodes, flights, remove, settled, adopted, restarts }
}

fn pack_node(number: usize, node: &Node) -> u64 {
    let mut out = Register { value: 0, at: 0 };
    out.put(node.view, 2);
    out.put(node.copy as u8, 2);
    out.put(node.window, 2);
    out.put(node.held, 2);
    out.put(node.silent, 2);
    out.put(node.ack, 3);
    out.put(node.bars, 4);
    out.put(node.bars_left, 3);
    for other in 0..NODES {
        out.put(node.grants[other], 2);
        // A node's beats to itself are never slow.
        if other != number {
            out.put(node.late[other], 2);
        }
        out.put(node.lent[other], 2);
    }
    out.value
}

fn unpack_node(number: usize, value: u64) -> Node {
    let mut from = Register { value, at: 0 };
    let mut node = Node::new(from.take(2));
    node.copy = [Copied::Nothing, Copied::Hot, Copied::Main][usize::from(from.take(2))];
    node.window = from.take(2);
    node.held = from.take(2);
    node.silent = from.take(2);
    node.ack = from.take(3);
    node.bars = from.take(4);
    node.bars_left = from.take(3);
    for other in 0..NODES {
        node.grants[other] = from.take(2);
        if other != number {
            node.late[other] = from.take(2);
        }
        node.lent[other] = from.take(2);
    }
    node
}

fn pack_flight(flight: &Flight) -> u64 {
    let mut out = Register { value: 0, at: 0 };
    out.put(flight.kind as u8, 3);
    out.put(flight.at, 2);
    out.put(flight.target, 2);
    out.put(flight.stage as u8, 2);
    out.put(u8::from(flight.keep), 1);
    out.put(flight.join as u8, 2);
    out.put(flight.young, 2);
    out.value
}

fn unpack_flight(value: u64) -> Flight {
    let mut from = Register { value, at: 0 };
    let kinds = [Kind::Empty, Kind::Load, Kind::Fetch, Kind::Peek, Kind::Relay];
    let joins = [Join::Nobody, Join::Anyone, Join::AfterWindow, Join::WhileYoung];
    Flight {
        kind: kinds[usize::from(from.take(3))],
        at: from.take(2),
        target: from.take(2),
        stage: [Stage::Asked, Stage::Answered, Stage::Checked][usize::from(from.take(2))],
        keep: from.take(1) == 1,
        join: joins[usize::from(from.take(2))],
        young: from.take(2),
    }
}

fn pack_remove(remove: &Remove) -> u64 {
    let mut out = Register { value: 0, at: 0 };
    out.put(remove.phase as u8, 3);
    out.put(remove.at, 2);
    out.put(remove.settled, 2);
    out.put(remove.view, 2);
    out.put(remove.timer, 2);
    out.put(remove.acked, 4);
    out.put(remove.unreached, 4);
    out.put(remove.barring, 4);
    out.put(remove.confirmed, 4);
    out.put(remove.wait, 2);
    out.put(remove.deadline, 3);
    out.value
}

fn unpack_remove(value: u64) -> Remove {
    let mut from = Register { value, at: 0 };
    let phases = [Phase::Before, Phase::Round1, Phase::Barring, Phase::Round2, Phase::Done];
    Remove {
        phase: phases[usize::from(from.take(3))],
        at: from.take(2),
        settled: from.take(2),
        view: from.take(2),
        timer: from.take(2),
        acked: from.take(4),
        unreached: from.take(4),
        barring: from.take(4),
        confirmed: from.take(4),
        wait: from.take(2),
        deadline: from.take(3),
    }
}

#[cfg(test)]
mod tests {
    use super::{pack, unpack};
    use crate::catalogue;
    use crate::model::Model;
    use crate::rules::Rules;

    #[test]
    fn every_world_of_a_search_comes_back_from_its_packed_form() {
        for &scenario in catalogue::ALL {
            let model = Model { scenario, rules: Rules::FULL, to_the_end: true };
            let mut worlds = vec![model.start()];
            for number in 0..2_000 {
                let Some(&world) = worlds.get(number) else { break };
                model.each_step(&world, &mut |_, next| worlds.push(next));
            }
            assert!(worlds.len() > 1_000, "{} has too few worlds", scenario.name);
            for world in worlds {
                assert_eq!(unpack(&pack(&world)), world, "in {}", scenario.name);
            }
        }
    }
}
