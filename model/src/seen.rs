//! Every state found so far, exactly: packed worlds in the order found, each with the one it was found from.

use crate::pack::Packed;

/// States come in blocks, so that growing never copies what is there.
const BLOCK: usize = 1 << 16;
const VACANT: u32 = u32::MAX;

/// The states found, numbered from 0 in the order of their finding.
pub struct Seen {
    blocks: Vec<Vec<(Packed, u32)>>,
    /// Open addressing: a hash leads to the number of a state.
    table: Vec<u32>,
    len: usize,
}

impl Seen {
    /// Nothing found yet.
    #[must_use]
    pub fn new() -> Seen {
        Seen { blocks: Vec::new(), table: vec![VACANT; 1 << 12], len: 0 }
    }

    /// How many states have been found.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none has been found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The state of this number.
    #[must_use]
    pub fn state(&self, number: usize) -> &Packed {
        &self.blocks[number / BLOCK][number % BLOCK].0
    }

    /// The state that this one was found from; the first one's is itself.
    #[must_use]
    pub fn parent(&self, number: usize) -> usize {
        self.blocks[number / BLOCK][number % BLOCK].1 as usize
    }

    /// Adds a state; false if it was there.
    pub fn add(&mut self, state: Packed, parent: usize) -> bool {
        if (self.len + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut at = hash(&state) as usize & mask;
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

impl Default for Seen {
    fn default() -> Seen {
        Seen::new()
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
