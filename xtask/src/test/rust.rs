//! The tiers that need nothing but cargo: unit tests, and the documentation.

use anyhow::Result;

use crate::test::world::World;
use crate::tools::{self, cargo};

/// Every test that needs no world around it.
///
/// # Errors
/// When one fails.
pub(crate) fn unit(world: &mut World<'_>) -> Result<()> {
    tools::ensure_test_tools(world.progress)?;
    // Benchmarks and examples are compiled by the lints; documentation's examples run in their own tier. The simulations are left to their
    // own tier, because they compile the cache with switches that nothing else may have.
    let mut tests = cargo::command();
    tests.args([
        "test",
        "--workspace",
        "--exclude",
        "groupcache-sim",
        "--exclude",
        "groupcache-simnet",
        "--locked",
        "--no-fail-fast",
        "--lib",
        "--bins",
        "--tests",
    ]);
    world.run(&mut tests)?;
    // The checker's locks and tasks work nowhere else, so that its tests are a build of their own: of one crate, and without the optimiser, which
    // would take longer than it saves.
    let mut schedules = cargo::command();
    schedules.args(["test", "--package", "groupcache-group", "--features", "shuttle", "--locked"]);
    schedules.args(["--config", "profile.dev.package.groupcache-group.opt-level=0", "--lib", "schedules"]);
    world.run(&mut schedules)
}

/// The documentation builds without a warning, and its examples work.
///
/// # Errors
/// When a link in it leads nowhere, or an example does not do what it shows.
pub(crate) fn docs(world: &mut World<'_>) -> Result<()> {
    let mut rustdoc = cargo::command();
    rustdoc.args(["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"]);
    world.run(rustdoc.env("RUSTDOCFLAGS", "-D warnings"))?;
    world.run(cargo::command().args(["test", "--workspace", "--locked", "--doc"]))
}
