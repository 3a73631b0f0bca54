//! Every Rust file is part of something that is compiled: a test that no `mod` declares never runs.

use std::collections::BTreeSet;

use crate::tidy::fault::Fault;
use crate::tidy::tree::{File, Tree};

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let mut declared = BTreeSet::new();
    for (file, syntax) in tree.rust() {
        declare(&folder_of_modules(&file.path), &file.path, &syntax.items, &mut declared);
    }
    let dead = |file: &&File| !is_root(&file.path) && !declared.contains(&file.path);
    tree.rust()
        .map(|(file, _)| file)
        .filter(dead)
        .map(|file| {
            let cure = "declare it with `mod`, or delete it";
            Fault::new(&file.path, 1, "no `mod` declares this file, so nothing compiles it", cure)
        })
        .collect()
}

/// Files that cargo compiles without being told.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        [_, "build.rs"]
            | [_, "src", "lib.rs" | "main.rs"]
            | [_, "src", "bin", _]
            | [_, "src", "bin", _, "main.rs"]
            | [_, "tests" | "examples" | "benches", _]
            | [_, "tests" | "examples" | "benches", _, "main.rs"]
    )
}

/// Where the files of a file's modules are.
fn folder_of_modules(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if is_root(path) {
        return folder.to_owned();
    }
    format!("{folder}/{}", name.trim_end_matches(".rs"))
}

fn declare(folder: &str, path: &str, items: &[syn::Item], declared: &mut BTreeSet<String>) {
    for item in items {
        let syn::Item::Mod(module) = item else { continue };
        let name = module.ident.to_string();
        match (&module.content, explicit_path(module)) {
            (Some((_, inner)), _) => declare(&format!("{folder}/{name}"), path, inner, declared),
            (None, Some(explicit)) => {
                let own_folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                declared.insert(format!("{own_folder}/{explicit}"));
            }
            (None, None) => {
                declared.insert(format!("{folder}/{name}.rs"));
            }
        }
    }
}

fn explicit_path(module: &syn::ItemMod) -> Option<String> {
    let attribute = module.attrs.iter().find(|attribute| attribute.path().is_ident("path"))?;
    let syn::Meta::NameValue(pair) = &attribute.meta else { return None };
    let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(path), .. }) = &pair.value else { return None };
    Some(path.value())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nothing_declares_is_found() {
        let tree = Tree::of(&[
            ("ring/src/lib.rs", "//! A.\nmod hash;\n"),
            ("ring/src/hash.rs", "//! A.\n"),
            ("ring/src/hash/tests.rs", "//! A.\n"),
        ]);

        let faults = check(&tree);

        assert_eq!(faults.len(), 1);
        assert!(faults[0].to_string().starts_with("ring/src/hash/tests.rs:1:"), "{}", faults[0]);
    }

    #[test]
    fn roots_and_declared_files_pass() {
        let tree = Tree::of(&[
            ("crds/src/bin/crdgen.rs", "//! A.\n"),
            ("group/tests/cluster.rs", "//! A.\nmod part;\n"),
            ("group/tests/part.rs", "//! A.\n"),
            ("e2e/tests/process/main.rs", "//! A.\nmod herd;\n"),
            ("e2e/tests/process/herd.rs", "//! A.\nmod inner { mod deep; }\n"),
            ("e2e/tests/process/herd/inner/deep.rs", "//! A.\n#[path = \"odd.rs\"]\nmod named;\n"),
            ("e2e/tests/process/herd/inner/odd.rs", "//! A.\n"),
        ]);

        assert_eq!(check(&tree), []);
    }
}
