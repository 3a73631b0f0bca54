//! Locks, atomics and tasks: the real ones, or with the feature `shuttle` those of a model checker.
//!
//! What has to hold between threads stands in files that take all of it from here, so that the tests named `schedules` run the very code that ships.

#[cfg(feature = "shuttle")]
mod checked;
#[cfg(not(feature = "shuttle"))]
mod real;

#[cfg(feature = "shuttle")]
pub(crate) use crate::sync::checked::*;
#[cfg(not(feature = "shuttle"))]
pub(crate) use crate::sync::real::*;

/// Into how many parts a table is cut, each with a lock of its own. Under the checker two: each lock is one more place where the order may change.
pub(crate) const fn parts(many: usize) -> usize {
    if cfg!(feature = "shuttle") { 2 } else { many }
}
