//! The project's own commands: `cargo xtask help` lists them.

mod cluster;
mod codegen;
mod images;
mod progress;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::Progress;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start, stop and look at a local Kubernetes of several nodes
    #[command(subcommand)]
    Cluster(cluster::command::ClusterCommand),
    /// Build the images and put them on every node of a local cluster
    Images(images::command::ImagesCommand),
    /// Write the Rust of the .proto files (committed under proto/src/generated)
    Codegen {
        /// Change nothing; fail if what is committed is stale
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Progress::new();
    let result = match arguments.command {
        Command::Cluster(command) => cluster::command::run(command, &progress),
        Command::Images(command) => images::command::run(&command, &progress),
        Command::Codegen { check } => codegen::run(check),
    };
    progress.finish(result)
}
