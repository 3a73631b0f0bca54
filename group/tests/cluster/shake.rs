//! Pauses of a random length, so that runs with other seeds meet other orders.

use std::cell::RefCell;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

thread_local! {
    static SEEDED: RefCell<Option<StdRng>> = const { RefCell::new(None) };
}

/// Has all chance of this thread come from a seed.
pub(crate) fn seed(seed: u64) {
    SEEDED.set(Some(StdRng::seed_from_u64(seed)));
}

/// A number below `limit`, by chance.
pub(crate) fn below(limit: u64) -> u64 {
    SEEDED.with_borrow_mut(|seeded| match seeded {
        Some(seeded) => seeded.random_range(0..limit),
        None => rand::random_range(0..limit),
    })
}

/// A pause, mostly none.
pub(crate) async fn shake() {
    match below(20) {
        0 => tokio::time::sleep(Duration::from_millis(1 + below(4))).await,
        1..8 => tokio::task::yield_now().await,
        _ => {}
    }
}
