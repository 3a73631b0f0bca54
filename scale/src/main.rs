//! Measures the operator with many clusters and with one large one: real nodes in this process, on a real API server.

mod addresses;
mod audit;
mod clusters;
mod figures;
mod kubelet;
mod machines;
mod operator;
mod pod;
mod pod_status;
mod round;
mod sight;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

/// Measures one round; `cargo xtask scale` makes the cluster for it.
///
/// The API server is the one of $KUBECONFIG. This must run where 10.250.0.0/16 is this machine's own: pods get their addresses there.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Arguments {
    /// The operator's program
    #[arg(long)]
    operator: PathBuf,
    /// The kubeconfig of which the operator gets a copy, with its own token
    #[arg(long)]
    kubeconfig: PathBuf,
    /// The folder with the API server's audit logs
    #[arg(long)]
    audit: PathBuf,
    /// The folder for the operator's log
    #[arg(long)]
    logs: PathBuf,
    /// How many clusters
    #[arg(long)]
    clusters: usize,
    /// How many nodes each of them has
    #[arg(long)]
    members: usize,
    /// For how many seconds they are left alone
    #[arg(long, default_value_t = 300)]
    idle: u64,
    /// For whom the figures are
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// For whom figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// One JSON document, for programs
    Json,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let figures = round::run(&arguments).await?;
    match arguments.output {
        Output::Text => print!("{}", figures.table()),
        Output::Json => println!("{}", serde_json::to_string(&figures)?),
    }
    figures.verdict()?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
impl Arguments {
    fn nothing() -> Self {
        let path = PathBuf::new;
        let (operator, kubeconfig, audit, logs) = (path(), path(), path(), path());
        Self { operator, kubeconfig, audit, logs, clusters: 0, members: 0, idle: 0, output: Output::Text }
    }
}
