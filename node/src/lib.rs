//! The cache node: adapters (transport, membership, loaders, doors) around a group, and their wiring.
//!
//! Start reading at [`node`]; it and `parts` are the only files that know all adapters. The folders never meet elsewhere:
//!
//! * [`transport`]: what applications and other nodes say, and the way to other nodes.
//! * [`membership`]: the rule by which a snapshot is adopted, and where it is kept.
//! * [`loader`]: the services that know the truth.
//! * [`args`], [`config`], [`configuration`], [`memory`], [`metrics`]: what the node is told, and what it tells.
//! * [`mod@clock`]: what time it is, by a clock that goes on while the machine sleeps.
//! * [`first_grants`]: readiness waits for them, for a moment.
//! * [`control`]: memberships as the cluster port sees them, and catching up with a peer that knows a newer one.
//! * [`access`]: who may call the data port, by tokens and rules.
//! * `install`: an adopted snapshot is put to work.
//!
//! It knows no Kubernetes: who is in the ring is pushed to it.

pub mod access;
pub mod args;
pub mod causes;
pub mod certificates;
pub mod clock;
pub mod config;
pub mod configuration;
pub mod control;
pub mod first_grants;
mod install;
pub mod loader;
pub mod membership;
pub mod memory;
pub mod metrics;
mod news;
pub mod node;
mod parts;
pub mod transport;
