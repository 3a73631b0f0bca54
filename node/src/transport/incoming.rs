//! Requests on their way in: large ones have a place in a budget, and who finds none is told so at once.
//!
//! Without this a few clients that send slowly pin any amount of memory: each request lies here, half read, until its deadline.
//! Nobody waits for a place: what would wait is a client in the middle of its sending.

use thiserror::Error;

use crate::memory::{InFlightBytes, Reserved};

/// Smaller requests are not counted: nearly all are, and a thousand connections' worth of them is a few megabytes.
const SMALL_BYTES: u64 = 4 << 10;

/// The budget of bytes that are being received. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct Incoming {
    budget: InFlightBytes,
}

/// There is no room for a request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this node has no room for a request of this size now; try again later, or at another node")]
pub struct NoRoom;

/// The room of one request, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    budget: InFlightBytes,
    reserved: Reserved,
}

impl Incoming {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Incoming { budget: InFlightBytes::new(bytes) }
    }

    /// Bytes that are on their way in now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.budget.taken()
    }

    /// A place for one request of which nothing has come yet.
    pub(crate) fn place(&self) -> Place {
        Place { budget: self.budget.clone(), reserved: Reserved::default() }
    }
}

impl Place {
    /// Makes the place as large as `bytes`.
    pub(crate) fn holds(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let fits = bytes <= SMALL_BYTES || self.budget.grow(&mut self.reserved, bytes);
        fits.then_some(()).ok_or(NoRoom)
    }
}
