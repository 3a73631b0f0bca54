//! Real binaries on loopback: the scenarios of `e2e/tests/process`, with the programs that the images hold.

use anyhow::{Context, Result};

use crate::test::world::World;
use crate::tools::cargo;

/// Runs the scenarios; each says in one line what it saw.
///
/// # Errors
/// When a program does not build or a scenario fails; the logs of each scenario are named.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    let programs = world.programs()?;
    let logs = world.logs("process")?;
    let mut command = cargo::command();
    command.args([
        "test",
        "--package",
        "groupcache-e2e",
        "--features",
        "process",
        "--test",
        "process",
        "--locked",
        "--",
    ]);
    // One after the other: a scenario that measures has the machine to itself.
    command.args(["--nocapture", "--test-threads", "1"]).args(&world.only);
    command.env("GROUPCACHE_E2E_LOGS", &logs);
    for (name, path) in programs {
        command.env(format!("GROUPCACHE_E2E_{}", name.to_uppercase().replace('-', "_")), path);
    }
    world.run(&mut command).with_context(|| format!("the logs of the scenarios are in {}", logs.display()))
}
