//! What the scenarios are told about their world, by variables that begin with `GROUPCACHE_E2E_`.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The value of `GROUPCACHE_E2E_<name>`.
///
/// # Errors
/// When it is not set; the text says how to run the scenarios.
pub fn text(name: &str) -> Result<String> {
    let variable = format!("GROUPCACHE_E2E_{name}");
    env::var(&variable).with_context(|| {
        format!("{variable} is not set: run the scenarios with `cargo xtask test process` or `cargo xtask test kubernetes`")
    })
}

/// The path in `GROUPCACHE_E2E_<name>`.
///
/// # Errors
/// When it is not set.
pub fn path(name: &str) -> Result<PathBuf> {
    text(name).map(PathBuf::from)
}

/// The number in `GROUPCACHE_E2E_<name>`, if it is set.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    text(name).ok()?.parse().ok()
}
