//! The project's container images: built as static programs, packed without Docker, put on every node.

pub(crate) mod archive;
pub(crate) mod build;
pub(crate) mod command;
pub(crate) mod push;
pub(crate) mod python;
