//! The project's own commands: `cargo xtask help` lists them.

mod cluster;
mod codegen;
mod crds;
mod demo;
mod deny;
mod images;
mod install;
mod output;
mod progress;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::progress::Progress;
use crate::tools::host;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a CacheCluster on a real Kubernetes: install, apply, 1,000 callers, one load
    Demo(demo::DemoCommand),
    /// Run the tests: every tier, or those that are named
    Test(test::TestCommand),
    /// Start, stop and look at a local Kubernetes of several nodes
    #[command(subcommand)]
    Cluster(cluster::command::ClusterCommand),
    /// Build the images and put them on every node of a local cluster
    Images(images::command::ImagesCommand),
    /// Check the house rules: directions, lengths, names, links
    Tidy,
    /// Check the dependencies: bans, licences, sources
    Deny,
    /// Write the Rust of the .proto files (committed under proto/src/generated)
    Codegen {
        /// Change nothing; fail if what is committed is stale
        #[arg(long)]
        check: bool,
    },
    /// Write the CRD's YAML from its Rust types
    Crds {
        /// Change nothing; fail if what is committed is stale
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Progress::new();
    let result = match arguments.command {
        Command::Demo(command) => demo::run(&command, &progress),
        Command::Test(command) => test::run(&command, &progress),
        Command::Cluster(command) => cluster::command::run(command, &progress),
        Command::Images(command) => images::command::run(&command, &progress),
        Command::Tidy => tidy::run(host::workspace()),
        Command::Deny => deny::run(&progress),
        Command::Codegen { check } => codegen::run(check),
        Command::Crds { check } => crds::run(check),
    };
    progress.finish(result)
}
