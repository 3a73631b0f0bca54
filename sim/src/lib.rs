//! Whole clusters of real nodes in virtual time, with faults of every kind, and the judges of what they promise.
//!
//! One seed decides everything: how many nodes there are, every message's way, every fault, every call. The same seed gives the same run, event for
//! event. What runs at each node is the code of `groupcache-group`, unchanged, in a runtime of the node's own, so that a crash ends it like a crash.
//!
//! Start reading at [`world::run`]. [`host`] is a machine with a process on it, [`network`] what lies between them, [`operator`] who publishes
//! memberships, [`faults`] what goes wrong, [`clients`] who calls, [`judge`] who looks on.

pub mod chance;
pub mod clients;
pub mod faults;
pub mod host;
pub mod journal;
pub mod judge;
pub mod mutations;
pub mod network;
pub mod node;
pub mod operator;
pub mod peers;
pub mod plan;
pub mod reasons;
pub mod server;
pub mod shared;
pub mod source;
pub mod tally;
pub mod truth;
pub mod world;
