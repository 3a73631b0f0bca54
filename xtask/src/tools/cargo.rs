//! Cargo on this workspace.

use std::env;
use std::process::Command;

use crate::tools::host;

/// What cargo tells a program that it runs: about xtask, and nobody else's business.
const ABOUT_US: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(host::workspace());
    // Some build scripts ask to run again when one of these changes: crates would be compiled anew each time a developer
    // goes from `cargo test` to `cargo xtask` and back.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| ABOUT_US.iter().any(|prefix| name.starts_with(prefix))) {
            command.env_remove(&name);
        }
    }
    command
}
