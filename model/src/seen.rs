//! Every state found so far, exactly: packed worlds in the order found, each with the one it was found from.

use crate::pack::Packed;

/// States come in blocks, so that growing never copies what is there.
const BLOCK: usize = 1 << 16;
const VACANT: u32 = u32::MAX;

/// The states found, numbered from 0 in the order of their finding.
pub(crate) struct Seen {
    blocks: Vec<Vec<(Packed, u32)>>,
    /// Open addressing: a hash leads to the number of a state.
    table: Vec<u32>,
    len: usize,
}

impl Seen {
    /// Nothing found yet.
    pub(crate) fn new() -> Seen {
        Seen { blocks: Vec::new(), table: vec![VACANT; 1 << 12], len: 0 }
    }

    /// How many states have been found.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The state of this number.
    pub(crate) fn state(&self, number: usize) -> &Packed {
        &self.blocks[number / BLOCK][number % BLOCK].0
    }

    /// The state that this one was found from; the first one's is itself.
    pub(crate) fn parent(&self, number: usize) -> usize {
        self.blocks[number / BLOCK][number % BLOCK].1 as usize
    }

    /// Where in the table the search for this state begins.
    #[inline]
    fn home(&self, state: &Packed) -> usize {
        hash(state) as usize & (self.table.len() - 1)
    }

    /// Touches the memory that `add` will need for these states, all at once, so that the waits overlap.
    pub(crate) fn warm<'a>(&self, states: impl Iterator<Item = &'a Packed>) -> u64 {
        let mut numbers = [VACANT; 64];
        let mut count = 0;
        for (number, state) in numbers.iter_mut().zip(states) {
            *number = self.table[self.home(state)];
            count += 1;
        }
        let there = |&&number: &&u32| number != VACANT;
        numbers[..count].iter().filter(there).fold(0, |sum, &number| sum ^ self.state(number as usize)[0])
    }

    /// Adds a state; false if it was there.
    pub(crate) fn add(&mut self, state: Packed, parent: usize) -> bool {
        if (self.len + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = self.home(&state);
        while self.table[at] != VACANT {
            if *self.state(self.table[at] as usize) == state {
                return false;
            }
            at = (at + 1) & mask;
        }
        self.table[at] = self.len as u32;
        if self.len.is_multiple_of(BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        if let Some(block) = self.blocks.last_mut() {
            block.push((state, parent as u32));
        }
        self.len += 1;
        true
    }

    fn grow(&mut self) {
        let size = self.table.len() * 2;
        self.table = vec![VACANT; size];
        for number in 0..self.len {
            let mut at = hash(self.state(number)) as usize & (size - 1);
            while self.table[at] != VACANT {
                at = (at + 1) & (size - 1);
            }
            self.table[at] = number as u32;
        }
    }
}

fn hash(state: &Packed) -> u64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for &word in state {
        hash = (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    hash
}
