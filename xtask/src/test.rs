//! `cargo xtask test`: every tier of tests, in the order in which they find faults fastest.

mod chart;
mod checks;
mod examples;
mod kubernetes;
mod process;
mod rbac;
mod registry;
mod release;
mod report;
mod rust;
mod simulation;
mod world;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::progress::Progress;
use crate::test::report::{Outcome, Row};
use crate::test::world::World;
use crate::tools::interrupt::Interrupt;

/// Runs the tests; without a tier, all of them.
#[derive(Args)]
pub(crate) struct TestCommand {
    /// Which tiers; all of them when none is named
    #[arg(value_enum)]
    tiers: Vec<Tier>,
    /// Go on with the next tier after one has failed
    #[arg(long)]
    keep_going: bool,
    /// Leave the test's Kubernetes up afterwards; `cargo xtask cluster down --name groupcache-test` removes it
    #[arg(long)]
    keep: bool,
    /// Only scenarios whose name contains this, in the tiers process and kubernetes
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

/// One kind of tests, by what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Tier {
    /// Format, lints, house rules, dependencies, stale generated files
    Checks,
    /// Everything beside the code, and whole groups in one process
    Unit,
    /// Whole clusters in virtual time, with faults, and each rule switched off in turn
    Simulation,
    /// The documentation builds, and what it shows works
    Docs,
    /// Real binaries on loopback
    Process,
    /// The Helm chart against its schema and a real API server, which also judges the examples
    Chart,
    /// The scenarios on a real Kubernetes
    Kubernetes,
}

impl Tier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Checks => "checks",
            Self::Unit => "unit",
            Self::Simulation => "simulation",
            Self::Docs => "docs",
            Self::Process => "process",
            Self::Chart => "chart",
            Self::Kubernetes => "kubernetes",
        }
    }

    fn run(self, world: &mut World<'_>) -> Result<()> {
        match self {
            Self::Checks => checks::run(world),
            Self::Unit => rust::unit(world),
            Self::Simulation => simulation::run(world),
            Self::Docs => rust::docs(world),
            Self::Process => process::run(world),
            Self::Chart => chart::run(world),
            Self::Kubernetes => kubernetes::run(world),
        }
    }
}

/// Runs the tiers and prints a table of them; fails unless each of them ran and passed.
///
/// # Errors
/// When a tier failed or did not run.
pub(crate) fn run(command: &TestCommand, progress: &Progress) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let mut world = World::new(progress, interrupt.clone(), command.only.clone());
    let rows = run_tiers(&wanted(&command.tiers), command.keep_going, |tier| {
        interrupt.check()?;
        progress.step(&format!("tier {}", tier.name()), || tier.run(&mut world))
    });
    // Also after a failure or an interrupt: nothing that we started stays.
    let cleaned = if command.keep { Ok(()) } else { world.clean_up() };
    print!("{}", report::table(&rows));
    cleaned?;
    match report::failures(&rows) {
        None => Ok(()),
        Some(text) => bail!("{text}"),
    }
}

fn wanted(named: &[Tier]) -> Vec<Tier> {
    let mut tiers = if named.is_empty() { Tier::value_variants().to_vec() } else { named.to_vec() };
    tiers.sort();
    tiers.dedup();
    tiers
}

fn run_tiers(tiers: &[Tier], keep_going: bool, mut run: impl FnMut(Tier) -> Result<()>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for tier in tiers {
        let failed_before = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
        let began = Instant::now();
        let outcome = if failed_before && !keep_going {
            Outcome::DidNotRun
        } else {
            match run(*tier) {
                Ok(()) => Outcome::Passed,
                Err(error) => Outcome::Failed(error),
            }
        };
        rows.push(Row { tier: tier.name(), took: began.elapsed(), outcome });
    }
    rows
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn outcomes(keep_going: bool) -> Vec<&'static str> {
        let fails = |tier| if tier == Tier::Unit { Err(anyhow!("red")) } else { Ok(()) };
        let rows = run_tiers(&[Tier::Checks, Tier::Unit, Tier::Docs], keep_going, fails);
        rows.iter().map(|row| row.outcome.word()).collect()
    }

    #[test]
    fn after_a_failure_the_rest_did_not_run_unless_told_to_go_on() {
        assert_eq!(outcomes(false), ["passed", "FAILED", "did not run"]);
        assert_eq!(outcomes(true), ["passed", "FAILED", "passed"]);
    }

    #[test]
    fn no_tier_named_means_all_and_the_order_is_ours() {
        assert_eq!(wanted(&[]).len(), Tier::value_variants().len());
        assert_eq!(wanted(&[Tier::Unit, Tier::Checks, Tier::Unit]), [Tier::Checks, Tier::Unit]);
    }
}
