//! What a user may ask for: the `CacheCluster` types with their CEL rules, and what is generated from them.
//!
//! * [`cluster`]: the object itself, start here; [`group`] and [`loader`] are its two lists.
//! * [`invalidation`]: how long "every node" may take in a Remove.
//! * [`tls`]: who may speak on the cluster port, and what the data port shows; [`access`]: who may call there.
//! * [`scheduling`]: on which machines nodes run; [`metadata`]: labels and annotations of the user's own.
//! * [`upkeep`]: what is kept around the pods, and whether the operator acts at all.
//! * [`status`]: what the operator says back.
//! * [`quantity`]: amounts of memory and processor time, as Kubernetes writes them.
//! * [`manifest`]: the YAML of the definition, plain and for the chart; [`mod@reference`]: the page that explains it.
//! * [`fields`]: only the names of all fields; [`generated`]: the files in which these are kept.
//!
//! It talks to no API server and makes no decision. What these types and rules let pass is checked again by the
//! operator, because a definition in a cluster may be older than the operator.

#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod access;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod cluster;
pub mod fields;
pub mod generated;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod group;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod invalidation;
mod kubernetes;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod loader;
pub mod manifest;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod metadata;
pub mod quantity;
pub mod reference;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod scheduling;
pub mod status;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod tls;
#[allow(unreachable_pub, reason = "the derive of the schema repeats each struct where nobody reaches it")]
pub mod upkeep;

pub use cluster::{CacheCluster, CacheClusterSpec};
pub use group::{AbandonedLoads, Group};
pub use loader::Loader;
pub use quantity::Quantity;
pub use status::CacheClusterStatus;
