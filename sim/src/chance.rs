//! Chance that follows from a seed: the same numbers on every machine, for ever.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// A stream of chance.
#[derive(Debug)]
pub struct Chance(Xoshiro256PlusPlus);

impl Chance {
    /// The stream of a seed that is used for `purpose`: what one part of the run draws does not move another's.
    #[must_use]
    pub fn new(seed: u64, purpose: u64) -> Self {
        Chance(Xoshiro256PlusPlus::seed_from_u64(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (purpose << 56)))
    }

    /// A number from `from` to below `to`; `from` if there is none.
    pub fn number(&mut self, from: u64, to: u64) -> u64 {
        if to <= from { from } else { from + self.0.next_u64() % (to - from) }
    }

    /// A place in a list of so many.
    pub fn place(&mut self, count: usize) -> usize {
        self.number(0, count as u64) as usize
    }

    /// True so many times in a thousand.
    pub fn permille(&mut self, of: u64) -> bool {
        self.number(0, 1000) < of
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.place(of.len())]
    }
}
