//! Cargo on this workspace.

use std::env;
use std::process::Command;

use crate::tools::host;

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(host::workspace());
    command
}
