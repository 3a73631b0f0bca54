//! Checks the dependencies with cargo-deny, which is built once into the user's cache folder.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::progress::Progress;
use crate::tools::cargo;
use crate::tools::host;
use crate::tools::run;

/// Pinned: a newer one may judge differently.
const VERSION: &str = "0.20.2";

/// What is checked. Advisories are not: their database is a git repository that a test run should not have to reach.
const CHECKS: [&str; 3] = ["bans", "licenses", "sources"];

/// Checks bans, licences and sources as `deny.toml` says.
///
/// # Errors
/// When cargo-deny cannot be built, or finds a fault; it prints each with the tree that shows how it came.
pub(crate) fn run(progress: &Progress) -> Result<()> {
    let program = ensure(progress)?;
    // Crates of other systems are judged too, and a build for this one has not downloaded them.
    run::output(cargo::command().args(["fetch", "--locked"]))?;
    let mut command = Command::new(program);
    command
        .current_dir(host::workspace())
        .args([
            "--offline",
            "--locked",
            "--all-features",
            "--log-level",
            "warn",
            "check",
            "--hide-inclusion-graph",
        ])
        .args(CHECKS);
    run::shown_to_user(&mut command).context("checking the dependencies")
}

/// The program, after building it if it is not in the cache.
fn ensure(progress: &Progress) -> Result<PathBuf> {
    let root = host::cache_folder()?.join(format!("cargo-deny-{VERSION}"));
    let program = root.join("bin/cargo-deny");
    if program.is_file() {
        return Ok(program);
    }
    let title = format!("building cargo-deny {VERSION}, which checks the dependencies (once)");
    progress.step(&title, || {
        let mut install = cargo::command();
        // Unoptimised: it builds in half the time and still answers within seconds.
        install.args(["install", "--quiet", "--locked", "--debug", "--root"]).arg(&root);
        install.arg(format!("cargo-deny@{VERSION}"));
        // Its own build folder: the workspace's flags and lock are not its business.
        install.env_remove("CARGO_TARGET_DIR");
        run::shown_to_user(&mut install)
    })?;
    Ok(program)
}
