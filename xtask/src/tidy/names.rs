//! No file or folder has a name that says nothing, and none hides behind `mod.rs`.

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// Names that take in everything and so say nothing.
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for path in &tree.paths {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == "mod.rs" {
            faults.push(Fault::new(path, 1, "is a mod.rs", "name it `x.rs` beside the folder `x/`"));
        }
        let stem = name.split('.').next().unwrap_or(name);
        if EMPTY_NAMES.contains(&stem) {
            faults.push(Fault::new(path, 1, format!("the name {stem:?} says nothing"), "name what is in it"));
        }
    }
    for (file, syntax) in tree.rust() {
        for item in &syntax.items {
            if let syn::Item::Mod(module) = item
                && module.content.is_some()
                && EMPTY_NAMES.iter().any(|name| module.ident == name)
            {
                let what = format!("the module name {:?} says nothing", module.ident.to_string());
                faults.push(Fault::new(
                    &file.path,
                    module.ident.span().start().line,
                    what,
                    "name what is in it",
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_names_are_found_as_files_folders_and_modules() {
        let tree = Tree::of(&[
            ("ring/src/utils.rs", "//! A.\n"),
            ("ring/src/hash/mod.rs", "//! A.\n"),
            ("ring/src/a.rs", "//! A.\nmod helpers {}\n"),
            ("docs/common.md", "text"),
        ]);

        assert_eq!(check(&tree).len(), 4);
    }

    #[test]
    fn a_name_that_says_something_passes() {
        assert_eq!(check(&Tree::of(&[("ring/src/utility_bill.rs", "//! A.\nmod common_prefix;\n")])), []);
    }
}
