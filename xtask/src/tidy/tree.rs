//! The files that the rules look at: read once, Rust parsed once, generated code left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use walkdir::WalkDir;

use crate::tidy::fault::Fault;

/// Folders with nothing of ours in them.
const PASSED_OVER: [&str; 3] = [".git", "target", "generated"];
/// Written by programs, for programs.
const WRITTEN_BY_PROGRAMS: [&str; 2] = ["Cargo.lock", "go.sum"];

/// The workspace as text.
pub(crate) struct Tree {
    /// Where it lies on this machine; empty in tests.
    pub(crate) root: String,
    pub(crate) files: Vec<File>,
    /// Every path there is, also of files that are no text and of folders.
    pub(crate) paths: BTreeSet<String>,
}

/// One text file.
pub(crate) struct File {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    rust: Option<Result<syn::File, syn::Error>>,
}

/// Where a Rust file stands in its crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// What is compiled together: `group/src`, `e2e/tests/process`, `crds/src/bin/crdgen`.
    pub(crate) unit: String,
    /// The module's path in it; empty for its root.
    pub(crate) module: Vec<String>,
}

impl Tree {
    /// Reads the workspace at `root`.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut paths = BTreeSet::new();
        let entries = WalkDir::new(root).sort_by_file_name().into_iter();
        let ours = |entry: &walkdir::DirEntry| !PASSED_OVER.iter().any(|name| entry.file_name() == *name);
        for entry in entries.filter_entry(|entry| entry.depth() == 0 || ours(entry)) {
            let entry = entry.context("reading the workspace")?;
            let path = entry.path().strip_prefix(root)?.to_string_lossy().replace('\\', "/");
            if entry.file_type().is_file()
                && !WRITTEN_BY_PROGRAMS.iter().any(|name| entry.file_name() == *name)
                && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
            {
                files.push(File::new(&path, text));
            }
            paths.insert(path);
        }
        Ok(Self { root: root.to_string_lossy().into_owned(), files, paths })
    }

    /// A workspace that a test made up: pairs of path and text.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files: Vec<File> = files.iter().map(|(path, text)| File::new(path, (*text).to_owned())).collect();
        let paths = files.iter().map(|file| file.path.clone()).collect();
        Self { root: String::new(), files, paths }
    }

    /// Every Rust file that parses.
    pub(crate) fn rust(&self) -> impl Iterator<Item = (&File, &syn::File)> {
        self.files.iter().filter_map(|file| Some((file, file.rust.as_ref()?.as_ref().ok()?)))
    }

    /// Rust files that do not parse.
    pub(crate) fn unreadable(&self) -> Vec<Fault> {
        let broken = |file: &File| {
            let error = file.rust.as_ref()?.as_ref().err()?;
            Some(Fault::new(
                &file.path,
                error.span().start().line,
                format!("does not parse ({error})"),
                "mend it",
            ))
        };
        self.files.iter().filter_map(broken).collect()
    }
}

impl File {
    fn new(path: &str, text: String) -> Self {
        let rust = path.ends_with(".rs").then(|| syn::parse_file(&text));
        Self { path: path.to_owned(), text, rust }
    }

    pub(crate) fn place(&self) -> Option<Place> {
        Place::of(&self.path)
    }
}

impl Place {
    /// `None` for Rust that is in no crate's `src` or `tests`.
    pub(crate) fn of(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_suffix(".rs")?.split('/').collect();
        // The parts that name the unit, and whether the next part is the root's own file name.
        let unit = match parts.as_slice() {
            [_, "src", "bin", _, ..] => 4,
            [_, "src", _, ..] => 2,
            [_, "tests" | "examples" | "benches", _, ..] => 3,
            _ => return None,
        };
        let mut module: Vec<String> = parts[unit..].iter().map(|part| (*part).to_owned()).collect();
        if matches!(module.as_slice(), [root] if root == "main" || root == "lib") {
            module.clear();
        }
        Some(Self { unit: parts[..unit].join("/"), module })
    }

    pub(crate) fn is_test(&self) -> bool {
        self.module.last().is_some_and(|name| name == "tests")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_tells_what_is_compiled_together_and_which_module_it_is() {
        for (path, unit, module) in [
            ("group/src/lib.rs", "group/src", ""),
            ("node/src/main.rs", "node/src", ""),
            ("node/src/loader/http.rs", "node/src", "loader::http"),
            ("crds/src/bin/crdgen.rs", "crds/src/bin/crdgen", ""),
            ("e2e/tests/kubernetes/main.rs", "e2e/tests/kubernetes", ""),
            ("e2e/tests/kubernetes/herd.rs", "e2e/tests/kubernetes", "herd"),
            ("group/tests/cluster.rs", "group/tests/cluster", ""),
        ] {
            let place = Place::of(path).unwrap();
            assert_eq!((place.unit.as_str(), place.module.join("::").as_str()), (unit, module), "{path}");
        }
        assert_eq!(Place::of("docs/example.rs"), None);
    }

    #[test]
    fn rust_that_does_not_parse_is_a_fault() {
        let faults = Tree::of(&[("ring/src/a.rs", "//! A.\n\nfn {")]).unreadable();

        assert!(faults[0].to_string().starts_with("ring/src/a.rs:3: does not parse"), "{}", faults[0]);
    }
}
