//! Who owns a key: members, versions, snapshots and ranked owners.
//!
//! Pure values and arithmetic, the one thing that every node, client and operator must agree on:
//! the same members give the same owners everywhere, whatever the order of the list.
//!
//! It knows no socket, no clock, no Kubernetes and no cache.

pub mod hash;
pub mod member;
pub mod prior;
pub mod rendezvous;
pub mod snapshot;
pub mod version;

pub use member::{Member, State};
pub use prior::Prior;
pub use rendezvous::Ring;
pub use snapshot::{Fault, Snapshot};
pub use version::Version;
