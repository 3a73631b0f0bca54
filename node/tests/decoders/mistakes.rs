//! Seeds with mistakes in them: bytes changed, lost, doubled, or taken from another seed; the same ones in every run.

/// Most mistakes in one.
const MOST: u64 = 4;

/// Longest piece that is moved.
const PIECE: u64 = 64;

/// Bytes that parsers stumble over.
const ODD: [u8; 12] = [0x00, 0xFF, 0x7F, 0x80, b'%', b'/', b'?', b'{', b'"', b'\n', b'.', b'9'];

/// Makes mistakes.
pub(crate) struct Mistakes(u64);

impl Mistakes {
    /// The same ones for each name.
    pub(crate) fn new(name: &str) -> Self {
        Mistakes(name.bytes().fold(1, |state: u64, byte| state.wrapping_mul(31) + u64::from(byte)))
    }

    /// One of the seeds, with some.
    pub(crate) fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = seeds[self.below(seeds.len() as u64)].clone();
        // One, as a rule: more make most of them no messages at all.
        let most = 1 + self.below(MOST) as u64;
        for _ in 0..=self.below(most) {
            self.add_one(&mut bytes, seeds);
        }
        bytes
    }

    fn add_one(&mut self, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(bytes.len() as u64 + 1);
        let end = bytes.len().min(at + 1 + self.below(PIECE));
        match self.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = ODD[self.below(ODD.len() as u64)],
            2 => bytes.insert(at, ODD[self.below(ODD.len() as u64)]),
            3 => drop(bytes.drain(at..end)),
            4 => bytes.truncate(at),
            5 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let other = &seeds[self.below(seeds.len() as u64)];
                let from = self.below(other.len() as u64 + 1);
                let to = other.len().min(from + self.below(PIECE));
                bytes.splice(at..end.min(at + to - from), other[from..to].iter().copied());
            }
        }
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound) as usize
    }
}
