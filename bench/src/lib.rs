//! Benchmarks beside their neighbours, in one run: a figure without its neighbour says nothing about the code.
//!
//! * [`rounds`]: measures several ways of doing a thing in turn, so that a machine that slows down slows all of them.
//! * [`hit`]: a Get that is in the cache: a [`groupcache_group::group::Group`] beside the raw stores.
//! * [`memory`]: what an entry really costs, beside what is charged for it.
//! * [`trace`]: hit ratios of the stores on a recorded trace.
//! * [`peers`]: fetches from another node, over streams and in calls.
//! * [`ring`]: who owns a key, in clusters of several sizes.

pub mod hit;
pub mod memory;
pub mod peers;
pub mod ring;
pub mod rounds;
pub mod trace;
