//! Whole clusters in virtual time: promises are kept, and the judges notice each rule that is not in force.

use anyhow::{Context, Result};

use crate::sim;
use crate::test::world::World;
use crate::tools::cargo;

/// Runs seeds with all rules in force, some of them over the real transport, then hunts for every mutation.
///
/// # Errors
/// When a promise broke or a mutation was not caught; what to type to see it again is printed above.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    let packages = ["--package", "groupcache-sim", "--package", "groupcache-simnet"];
    world.run(cargo::command().args(["test", "--locked"]).args(packages))?;
    world.run(&mut sim::simulation()).context("a seed broke a promise")?;
    world.run(&mut sim::over_the_wire()).context("a seed broke a promise over the wire")?;
    world.run(sim::simulation().arg("--mutations")).context("a rule was switched off and nobody noticed")
}
