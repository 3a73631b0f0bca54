//! `cargo xtask sim`: whole clusters in virtual time, optimised; the arguments are the simulation's own.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::tools::{cargo, run};

/// Runs seeds of the simulation, which prints what it ran, what broke and how to replay it.
#[derive(Args)]
pub(crate) struct SimCommand {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many seeds; 200 if neither this nor `--hours` is given; 10 over the wire
    #[arg(long, conflicts_with = "hours")]
    seeds: Option<u64>,
    /// Until so many cluster-hours are simulated
    #[arg(long)]
    hours: Option<f64>,
    /// So many seeds at once; as many as there are processors if not given
    #[arg(long, conflicts_with = "wire")]
    jobs: Option<usize>,
    /// Show the events of the minute before a broken promise
    #[arg(long)]
    journal: bool,
    /// Switch each rule off in turn and demand that a promise breaks
    #[arg(long)]
    mutations: bool,
    /// Run over the node's real transport, on a simulated network
    #[arg(long, conflicts_with_all = ["hours", "mutations"])]
    wire: bool,
}

/// Runs the simulation.
///
/// # Errors
/// When it does not build, a promise broke, or a mutation was not caught.
pub(crate) fn run(command: &SimCommand) -> Result<()> {
    let mut sim = if command.wire { over_the_wire() } else { simulation() };
    sim.args(["--seed", &command.seed.to_string()]);
    if let Some(seeds) = command.seeds {
        sim.args(["--seeds", &seeds.to_string()]);
    }
    if let Some(hours) = command.hours {
        sim.args(["--hours", &hours.to_string()]);
    }
    if let Some(jobs) = command.jobs {
        sim.args(["--jobs", &jobs.to_string()]);
    }
    for (wanted, flag) in [(command.journal, "--journal"), (command.mutations, "--mutations")] {
        if wanted {
            sim.arg(flag);
        }
    }
    run::with_users_terminal(&mut sim)
}

/// The simulation's program, optimised, without arguments.
pub(crate) fn simulation() -> Command {
    optimised("groupcache-sim")
}

/// The program of the simulation over the real transport, likewise.
pub(crate) fn over_the_wire() -> Command {
    optimised("groupcache-simnet")
}

fn optimised(package: &str) -> Command {
    let mut command = cargo::command();
    command.args(["run", "--release", "--locked", "--quiet", "--package", package, "--"]);
    command
}
