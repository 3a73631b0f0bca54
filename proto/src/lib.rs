//! What is said on the wire: the `.proto` files, their generated Rust, and the checked conversions.
//!
//! * [`cache`]: `groupcache.v1`, applications to nodes, on the data port.
//! * [`cluster`]: `groupcache.cluster.v1`, nodes to each other and the operator to nodes, on the cluster port.
//! * [`loader`]: `groupcache.loader.v1`, nodes to the loader a user writes.
//! * [`family`]: `groupcachepb`, the Go family's schema.
//! * [`convert`]: the one checked door from wire memberships to ring values and back.
//!
//! It holds no server, no client and no policy. The Rust under `generated/` is written by `cargo xtask codegen`.

pub mod convert;

/// `groupcache.v1`: what an application says to a node.
pub mod cache {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the .proto file"
    )]
    include!("generated/groupcache.v1.rs");
}

/// `groupcache.cluster.v1`: what nodes and the operator say to each other.
pub mod cluster {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the .proto file"
    )]
    include!("generated/groupcache.cluster.v1.rs");
}

/// `groupcache.loader.v1`: what a node asks of a loader.
pub mod loader {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the .proto file"
    )]
    include!("generated/groupcache.loader.v1.rs");
}

/// `groupcachepb`: the Go family's peer protocol.
pub mod family {
    #![allow(
        missing_docs,
        unreachable_pub,
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the .proto file"
    )]
    include!("generated/groupcachepb.rs");
}

/// The descriptors of every service above, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("generated/descriptors.bin");
