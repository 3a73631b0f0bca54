//! The project's own commands: `cargo xtask help` lists them.

mod cluster;
mod codegen;
mod crds;
mod demo;
mod deny;
mod fuzz;
mod images;
mod install;
mod output;
mod progress;
mod quickstart;
mod scale;
mod sim;
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
    /// Run whole clusters of real nodes in virtual time, with faults, and judge what they promise
    Sim(sim::SimCommand),
    /// Measure the operator with hundreds of clusters and with a large one; long, and no part of the tests
    ///
    /// Every node is a real one, all of them in one process; the API server and the controllers are real, and a kubelet of the command's own tells of the
    /// pods. Fails when the operator holds more than 256 MiB, or writes anything but its Lease while nothing happens. Wants a machine that does nothing else.
    Scale(scale::ScaleCommand),
    /// Start, stop and look at a local Kubernetes of several nodes
    #[command(subcommand)]
    Cluster(cluster::command::ClusterCommand),
    /// Build the images and put them on every node of a local cluster
    Images(images::command::ImagesCommand),
    /// Look for bytes that break a decoder, for as long as you like
    ///
    /// libFuzzer changes the seeds in fuzz/corpus, guided by the ways that bytes take through the code. What takes a new way is kept in fuzz/found,
    /// where the next run begins; bytes that break a decoder lie there, too. It needs a C++ compiler, and no other Rust than the workspace's.
    Fuzz(fuzz::FuzzCommand),
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
    /// Write the CRD's YAML and its reference page from their Rust types
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
        Command::Sim(command) => sim::run(&command),
        Command::Scale(command) => scale::run(&command, &progress),
        Command::Cluster(command) => cluster::command::run(command, &progress),
        Command::Images(command) => images::command::run(&command, &progress),
        Command::Fuzz(command) => fuzz::run(&command, &progress),
        Command::Tidy => tidy::run(host::workspace()),
        Command::Deny => deny::run(&progress),
        Command::Codegen { check } => codegen::run(check),
        Command::Crds { check } => crds::run(check),
    };
    progress.finish(result)
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;
    use crate::tidy::tree::Tree;

    /// What stands behind `cargo xtask` in prose, in a block of commands, or in a message between back-quotes.
    fn commands(text: &str) -> impl Iterator<Item = &str> {
        let behind = text.lines().flat_map(|line| line.split("cargo xtask ").skip(1));
        behind.map(|rest| rest.split(['`', '#', '"', ';']).next().unwrap_or(rest).trim_end())
    }

    /// A command group alone is a way to speak of it, and is answered with its help.
    fn is_ours(error: &clap::Error) -> bool {
        matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    }

    #[test]
    fn every_command_that_a_page_or_a_message_shows_is_one_of_ours() {
        let tree = Tree::read(host::workspace()).unwrap();
        let (mut shown, mut wrong) = (0, Vec::new());
        for file in &tree.files {
            for command in commands(&file.text) {
                let words = std::iter::once("cargo xtask").chain(command.split_whitespace());
                if let Some(error) = Arguments::try_parse_from(words).err().filter(|error| !is_ours(error)) {
                    wrong.push(format!("{}: {command:?}: {error}", file.path));
                }
                shown += 1;
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(shown > 20, "only {shown} commands were found");
    }
}
