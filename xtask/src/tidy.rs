//! Checks the house rules that no compiler knows, all of them at once: `cargo xtask tidy`, and a test.

mod captions;
mod circles;
mod crates;
mod dead;
mod fault;
mod ignored;
mod imports;
mod length;
mod links;
mod machine;
mod map;
mod modules;
mod names;
pub(crate) mod quotes;
pub(crate) mod tree;

use std::path::Path;

use anyhow::{Result, bail};

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// The rules that need only the files; the rules on crates also ask cargo.
const RULES: &[fn(&Tree) -> Vec<Fault>] = &[
    captions::check,
    length::check,
    names::check,
    dead::check,
    ignored::check,
    imports::check,
    circles::check,
    modules::check,
    links::check,
    machine::check,
    map::check,
    quotes::check,
];

/// Prints every fault and fails if there is one.
///
/// # Errors
/// When a fault was found, or the workspace cannot be read.
pub(crate) fn run(workspace: &Path) -> Result<()> {
    let faults = faults(workspace)?;
    for fault in &faults {
        println!("{fault}");
    }
    match faults.len() {
        0 => Ok(()),
        count => bail!("{count} house rules are broken; each line above says where and what to do"),
    }
}

fn faults(workspace: &Path) -> Result<Vec<Fault>> {
    let tree = Tree::read(workspace)?;
    let mut faults = tree.unreadable();
    faults.extend(RULES.iter().flat_map(|rule| rule(&tree)));
    faults.extend(crates::check(workspace)?);
    faults.sort();
    Ok(faults)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::host;

    #[test]
    fn the_house_is_tidy() {
        let faults = faults(host::workspace()).unwrap();
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
    }
}
