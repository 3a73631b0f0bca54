//! Who owns a key: lookups in rings of several sizes.

use std::hint::black_box;

use groupcache_ring::{Member, Ring};

use crate::rounds::{Contestant, Figure, measure};

/// The sizes of clusters that are measured.
pub const SIZES: [usize; 3] = [3, 10, 50];

/// Keys that are looked up in turn; more than the first-level cache holds.
const KEYS: usize = 4_096;

/// Measures [`Ring::owner`] on one thread, the sizes in turn.
#[must_use]
pub fn run(rounds: usize, operations: usize) -> Vec<Figure> {
    let keys: Vec<String> = (0..KEYS).map(|n| format!("user:{n:012}")).collect();
    let rings = SIZES.map(|size| {
        let members: Vec<Member> = (0..size)
            .map(|n| Member::active(format!("cache-{n}"), format!("10.0.{}.{}:8081", n / 250, n % 250)))
            .collect();
        Ring::new(&members)
    });
    let contestants: Vec<_> = rings
        .iter()
        .map(|ring| Contestant {
            name: format!("owner of a key, {} members", ring.len()),
            work: Box::new(|_, operations| {
                for operation in 0..operations {
                    black_box(ring.owner(keys[operation % KEYS].as_bytes()));
                }
            }),
        })
        .collect();
    measure(&contestants, 1, rounds, operations)
}
