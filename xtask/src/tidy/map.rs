//! ARCHITECTURE.md is true: its table of crates is the law's, and every path that it names is there.

use std::collections::BTreeSet;

use crate::tidy::crates;
use crate::tidy::fault::Fault;
use crate::tidy::tree::{File, Tree};

/// The page with the table of crates.
const MAP: &str = "ARCHITECTURE.md";
/// Pages that name paths of this repository in prose.
const PAGES: [&str; 3] = [MAP, "CONTRIBUTING.md", "README.md"];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let pages = tree.files.iter().filter(|file| PAGES.contains(&file.path.as_str()));
    let mut faults: Vec<Fault> = pages.flat_map(|page| lost_paths(tree, page)).collect();
    if let Some(map) = tree.files.iter().find(|file| file.path == MAP) {
        faults.extend(wrong_rows(map));
    }
    faults
}

/// Code spans that begin with a folder of ours and lead nowhere.
fn lost_paths(tree: &Tree, page: &File) -> Vec<Fault> {
    let folders: BTreeSet<&str> =
        tree.paths.iter().filter_map(|path| Some(path.split_once('/')?.0)).collect();
    let is_there = |path: &str| {
        let inside = format!("{path}/");
        tree.paths.iter().any(|other| other == path || other.starts_with(&inside))
    };
    let mut faults = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        for span in line.split('`').skip(1).step_by(2) {
            let ours = span.split_once('/').is_some_and(|(folder, _)| folders.contains(folder));
            if ours && !is_there(span.trim_end_matches('/')) {
                let what = format!("`{span}` is not there any more");
                faults.push(Fault::new(&page.path, index + 1, what, "name what is there now"));
            }
        }
    }
    faults
}

/// Rows `| folder | holds | may depend on |` that say something else than the law, and crates without a row.
fn wrong_rows(map: &File) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut missing: BTreeSet<&str> = crates::spoken_of().collect();
    for (index, line) in map.text.lines().enumerate() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", folder, _, arrows, ""] = cells.as_slice() else { continue };
        let krate = folder.trim_matches('`').trim_end_matches('/');
        let Some(law) = crates::may(krate) else { continue };
        missing.remove(krate);
        let written: BTreeSet<&str> = match *arrows {
            "nothing" => BTreeSet::new(),
            "all" => crates::ALL.iter().copied().collect(),
            names => names.split(", ").collect(),
        };
        if written != law.iter().copied().collect() {
            let what = format!("`{krate}` may depend on {law:?}, and this row says {arrows:?}");
            faults.push(Fault::new(MAP, index + 1, what, "make the row and xtask/src/tidy/crates.rs agree"));
        }
    }
    let row = |krate| Fault::new(MAP, 1, format!("the crate `{krate}` has no row"), "say what it holds");
    faults.extend(missing.into_iter().map(row));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(map: &str) -> Vec<String> {
        let tree = Tree::of(&[(MAP, map), ("ring/src/hash.rs", "//! A.\n")]);
        let faults = check(&tree).into_iter().map(|fault| fault.to_string());
        faults.filter(|fault| !fault.contains("has no row")).collect()
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        let lines = lines("`ring/src/hash.rs` `ring/` `a/b` `ring/src/gone.rs`\n");

        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("ring/src/gone.rs"), "{lines:?}");
    }

    #[test]
    fn a_row_that_is_not_the_law_is_found() {
        assert_eq!(
            lines("| `proto/` | the wire | ring |\n| `bench/` | figures | all |\n"),
            Vec::<String>::new()
        );
        assert_eq!(lines("| `proto/` | the wire | nothing |\n").len(), 1);
    }

    #[test]
    fn a_crate_without_a_row_is_found() {
        let faults = check(&Tree::of(&[(MAP, "| `ring/` | owners | nothing |\n")]));

        assert_eq!(faults.len(), crates::spoken_of().count() - 1);
    }
}
