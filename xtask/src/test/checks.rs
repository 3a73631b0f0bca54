//! What can be said without running anything: format, lints, house rules, dependencies, stale generated files.

use std::process::Command;

use anyhow::{Result, bail};

use crate::test::world::World;
use crate::tools::cargo;
use crate::tools::host;
use crate::{codegen, crds, deny, tidy};

/// Runs every check, also after one has failed: a developer wants to see all faults of a change at once.
///
/// # Errors
/// Names every check that failed.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    let progress = world.progress;
    let mut failed = Vec::new();
    let mut check = |name: &'static str, result: Result<()>| {
        if let Err(error) = result {
            eprintln!("{name}: {error:#}");
            failed.push(name);
        }
    };
    check("format", world.run(cargo::command().args(["fmt", "--all", "--check"])));
    check("house rules", progress.step("house rules", || tidy::run(host::workspace())));
    check("generated protocol", progress.step("generated protocol", || codegen::run(true)));
    check("dependencies", deny::run(progress));
    check("lints", world.run(&mut clippy()));
    check("generated CRD", progress.step("generated CRD", || crds::run(true)));
    world.interrupt.check()?;
    match failed.as_slice() {
        [] => Ok(()),
        names => bail!("failed: {}; the faults are above", names.join(", ")),
    }
}

fn clippy() -> Command {
    let mut command = cargo::command();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--locked",
        "--",
        "-D",
        "warnings",
    ]);
    command
}
