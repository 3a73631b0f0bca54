//! Cargo on this workspace.

use std::env;
use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::host;
use crate::tools::run;

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

/// This machine's own target, such as `x86_64-unknown-linux-gnu`.
///
/// # Errors
/// When rustc does not tell.
pub(crate) fn host_target() -> Result<String> {
    let told = run::output(Command::new("rustc").arg("-vV"))?;
    let host = told.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}
