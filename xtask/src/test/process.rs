//! Real binaries on loopback: the scenarios of `e2e/tests/process`, with the programs that the images hold.

use anyhow::{Context, Result};

use crate::test::world::World;
use crate::tools::{self, host};

/// Runs the scenarios; each says in one line what it saw.
///
/// # Errors
/// When a program does not build or a scenario fails; the logs of each scenario are named.
pub(crate) fn run(world: &mut World<'_>) -> Result<()> {
    if world.only.is_none() {
        // One scenario makes network namespaces. Whoever wants another one alone may do without root.
        host::require_root_on_linux()?;
    }
    tools::ensure_test_tools(world.progress)?;
    tools::ensure_network_tools(world.progress)?;
    tools::ensure_promtool(world.progress)?;
    let logs = world.logs("process")?;
    // Before the minutes of building: it finds a slip of the pen.
    let mut command = world.scenarios("process", &logs)?;
    let programs = world.programs()?;
    for (name, path) in programs {
        command.env(format!("GROUPCACHE_E2E_{}", name.to_uppercase().replace('-', "_")), path);
    }
    world.run(&mut command).with_context(|| format!("the logs of the scenarios are in {}", logs.display()))
}
