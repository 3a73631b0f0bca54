//! For whom a command's answer on standard output is.

use clap::ValueEnum;

/// What `--output` takes.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One JSON document, for programs
    Json,
}
