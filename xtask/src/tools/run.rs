//! Runs programs and turns their failures into errors that say what ran and what it answered.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// How much of a failed program's output an error quotes.
const QUOTED_BYTES: usize = 4096;

/// Runs a program to its end and returns what it printed.
///
/// # Errors
/// When it cannot start or exits non-zero; the text quotes the command and the end of its output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{shown}`"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let said = format!("{}\n{}", tail(&text), tail(&errors));
        bail!("`{shown}` failed ({}): {}", output.status, said.trim());
    }
    Ok(text)
}

/// Runs a program to its end, its output shown to the user.
///
/// # Errors
/// When it cannot start or exits non-zero.
pub(crate) fn shown_to_user(command: &mut Command) -> Result<()> {
    with_users_terminal(command.stdin(Stdio::null()))
}

/// Runs a program to its end, with the user's own input and output.
///
/// # Errors
/// When it cannot start or exits non-zero.
pub(crate) fn with_users_terminal(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status}); its own words are above");
    }
    Ok(())
}

/// The last lines of a log file, for an error's text.
pub(crate) fn last_lines(path: &Path, count: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// A command as one line, for messages.
pub(crate) fn shown(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(QUOTED_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}
