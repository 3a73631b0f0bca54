//! Writes the CRD's YAML and its reference page from their Rust types, or says that what is committed is stale.

use std::process::Command;

use anyhow::{Context, Result};

use crate::tools::cargo;
use crate::tools::run;

/// Generates, or with `check` compares.
///
/// # Errors
/// When the generator does not build, or `check` finds a difference; its own words are printed above.
pub(crate) fn run(check: bool) -> Result<()> {
    let mut command: Command = cargo::command();
    command.args(["run", "--quiet", "--locked", "--package", "groupcache-crds", "--bin", "crdgen", "--"]);
    command.arg(if check { "--check" } else { "--write" });
    run::shown_to_user(&mut command).context("generating the CRD")
}
