//! Runs a program to its end and tells what it said.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// What a program that ended has said.
#[derive(Debug)]
pub struct Said {
    /// Whether its exit code was 0.
    pub success: bool,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

/// Runs a program, whether it succeeds or not.
///
/// # Errors
/// When it cannot be started.
pub fn run(command: &mut Command, input: Option<&str>) -> Result<Said> {
    let shown = shown(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // A program that does not read all of its input says why itself.
        pipe.write_all(input.as_bytes()).ok();
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for `{shown}`"))?;
    Ok(Said {
        success: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs a program that must succeed; returns its output.
///
/// # Errors
/// When it fails; the text quotes the command and what it said.
pub fn output(command: &mut Command, input: Option<&str>) -> Result<String> {
    let said = run(command, input)?;
    if !said.success {
        bail!("`{}` failed: {}{}", shown(command), said.output, said.errors);
    }
    Ok(said.output)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
