//! A page of the documentation, run as its reader would: the commands of its blocks, and what they should print.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file of the workspace.
///
/// # Errors
/// When it is not there.
pub fn file(path: &str) -> Result<String> {
    fs::read_to_string(workspace().join(path)).with_context(|| format!("reading {path}"))
}

/// The commands of all blocks of a page that begin with a fence and this word, as one bash script. It stops at the first
/// command that fails, or prints something else than the `#=>` lines behind it say.
///
/// # Errors
/// When the page has no such block.
pub fn script(page: &str, fence: &str) -> Result<String> {
    let lines = blocks(page, fence);
    if lines.is_empty() {
        bail!("the page has no block that begins with ```{fence}");
    }
    let mut script = String::from(
        "set -euo pipefail\n\
         demand() { [ \"$1\" = \"$2\" ] || { printf 'the page promises %q, but %q came from: %s\\n' \"$2\" \"$1\" \"$3\"; exit 1; }; }\n",
    );
    let mut lines = lines.iter().peekable();
    while let Some(command) = lines.next() {
        let mut promised: Vec<&str> = Vec::new();
        while let Some(text) = lines.peek().and_then(|line| line.strip_prefix("#=>")) {
            promised.push(text.trim());
            lines.next();
        }
        // Writing to a string cannot fail.
        if promised.is_empty() {
            writeln!(script, "{command}").ok();
        } else {
            let (promised, shown) = (quoted(&promised.join("\n")), quoted(command));
            writeln!(script, "said=$({command}); demand \"$said\" {promised} {shown}").ok();
        }
    }
    Ok(script)
}

fn blocks<'a>(page: &'a str, fence: &str) -> Vec<&'a str> {
    let opening = format!("```{fence}");
    let mut inside = false;
    let mut found = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside && line.trim_end() == opening;
        } else if inside {
            found.push(line);
        }
    }
    found
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::program;

    fn run(page: &str) -> program::Said {
        program::run(Command::new("bash").args(["-c", &script(page, "sh local").unwrap()]), None).unwrap()
    }

    #[test]
    fn what_a_page_promises_is_compared_with_what_comes() {
        let kept =
            "text\n```sh local\nname=CRAB\necho \"it's $name\"\n#=> it's CRAB\n```\n```sh\nfalse\n```\n";

        assert!(run(kept).success, "{:?}", run(kept));
        let broken = run(&kept.replace("#=> it's", "#=> its"));
        assert!(!broken.success && broken.output.contains("echo"), "{broken:?}");
    }

    #[test]
    fn a_command_that_fails_ends_the_page() {
        assert!(!run("```sh local\nfalse\necho on\n```\n").success);
        assert!(script("no block", "sh local").is_err());
    }
}
