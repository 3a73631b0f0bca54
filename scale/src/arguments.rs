//! What a round is started with.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measures one round; `cargo xtask scale` makes the cluster for it.
///
/// The API server is the one of $KUBECONFIG. This must run where 10.250.0.0/16 is this machine's own: pods get their addresses there.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// The operator's program
    #[arg(long)]
    pub(crate) operator: PathBuf,
    /// The kubeconfig of which the operator gets a copy, with its own token
    #[arg(long)]
    pub(crate) kubeconfig: PathBuf,
    /// The folder with the API server's audit logs
    #[arg(long)]
    pub(crate) audit: PathBuf,
    /// The folder for the operator's log
    #[arg(long)]
    pub(crate) logs: PathBuf,
    /// How many clusters
    #[arg(long)]
    pub(crate) clusters: usize,
    /// How many nodes each of them has
    #[arg(long)]
    pub(crate) members: usize,
    /// Let nodes be light: they adopt and acknowledge, keep no values, and do not call each other
    #[arg(long)]
    pub(crate) light: bool,
    /// For how many seconds they are left alone
    #[arg(long, default_value_t = 300)]
    pub(crate) idle: u64,
    /// For whom the figures are
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

/// For whom figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Text,
    /// One JSON document, for programs
    Json,
}

#[cfg(test)]
impl Arguments {
    /// A round of nothing.
    pub(crate) fn nothing() -> Self {
        let path = PathBuf::new;
        let (operator, kubeconfig, audit, logs) = (path(), path(), path(), path());
        Self {
            operator,
            kubeconfig,
            audit,
            logs,
            clusters: 0,
            members: 0,
            light: false,
            idle: 0,
            output: Output::Text,
        }
    }
}
