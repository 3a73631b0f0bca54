//! Who names whom inside a crate; and nobody imports through the crate's root, which is for outsiders.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use crate::tidy::fault::Fault;
use crate::tidy::tree::{File, Place, Tree};

/// One path in the code: `use a::b`, or `a::b()` in place.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    /// The file that names the path.
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) from: Place,
    pub(crate) to: Target,
    /// Inside `#[cfg(test)]` or a file of tests.
    pub(crate) in_test: bool,
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A path from the root of the same crate: `flight::Flights`.
    Inside(Vec<String>),
    /// A path into another crate: `tokio::time::sleep`.
    Outside(Vec<String>),
}

/// Every path of the workspace that leads out of its own module.
pub(crate) fn of(tree: &Tree) -> Vec<Import> {
    let mut imports = Vec::new();
    for (file, syntax) in tree.rust() {
        let Some(from) = file.place() else { continue };
        let mut paths =
            Paths { file, here: from.module.clone(), in_test: from.is_test(), from, found: &mut imports };
        paths.visit_file(syntax);
    }
    imports
}

/// The modules of each unit: its files, and what its root declares in place.
pub(crate) fn modules(tree: &Tree) -> BTreeMap<String, BTreeSet<Vec<String>>> {
    let mut modules: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (file, syntax) in tree.rust() {
        let Some(place) = file.place() else { continue };
        let unit = modules.entry(place.unit).or_default();
        if place.module.is_empty() {
            let declared = syntax.items.iter().filter_map(|item| match item {
                syn::Item::Mod(module) => Some(vec![module.ident.to_string()]),
                _ => None,
            });
            unit.extend(declared);
        } else {
            unit.insert(place.module);
        }
    }
    modules
}

/// Faults of the rule on imports through the root.
pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let modules = modules(tree);
    let through_root = |import: &Import| {
        let Target::Inside(path) = &import.to else { return None };
        let [name, ..] = path.as_slice() else { return None };
        if import.from.module.is_empty() || name == "*" {
            return None;
        }
        let unit = modules.get(&import.from.unit)?;
        if unit.iter().any(|module| module.first() == Some(name)) {
            return None;
        }
        let what = format!("`{name}` is imported through the crate's root");
        Some(Fault::new(&import.file, import.line, what, "import it from the module that defines it"))
    };
    of(tree).iter().filter_map(through_root).collect()
}

struct Paths<'a> {
    file: &'a File,
    from: Place,
    /// The module of the code that is being looked at, modules in place included.
    here: Vec<String>,
    in_test: bool,
    found: &'a mut Vec<Import>,
}

impl Paths<'_> {
    fn found(&mut self, segments: &[String], line: usize) {
        let Some(to) = self.resolve(segments) else { return };
        let file = self.file.path.clone();
        self.found.push(Import { file, line, from: self.from.clone(), to, in_test: self.in_test });
    }

    fn resolve(&self, segments: &[String]) -> Option<Target> {
        let (first, rest) = segments.split_first()?;
        match first.as_str() {
            "crate" => Some(Target::Inside(rest.to_vec())),
            "self" | "super" => {
                let ups = segments.iter().take_while(|segment| *segment == "super").count();
                let skipped = if first == "self" { 1 } else { ups };
                let base = &self.here[..self.here.len().checked_sub(ups)?];
                Some(Target::Inside([base, &segments[skipped..]].concat()))
            }
            _ if segments.len() > 1 => Some(Target::Outside(segments.to_vec())),
            _ => None,
        }
    }

    fn walk(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.walk(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" => {
                self.found(prefix, name.ident.span().start().line);
            }
            syn::UseTree::Name(name) => self.found(&with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Rename(name) => self.found(&with(&name.ident), name.ident.span().start().line),
            syn::UseTree::Glob(star) => {
                self.found(&[prefix, &["*".to_owned()]].concat(), star.star_token.spans[0].start().line);
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.walk(prefix, tree)),
        }
    }
}

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let was_test = self.in_test;
        self.in_test |= is_for_tests(&module.attrs);
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
        self.in_test = was_test;
    }

    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        self.walk(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if let Some(first) = path.segments.first() {
            self.found(&segments, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && list.tokens.to_string() == "test"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Vec<String> {
        let tree = Tree::of(&[("node/src/loader/http.rs", text)]);
        let shown = |import: &Import| match &import.to {
            Target::Inside(path) => format!("inside {}", path.join("::")),
            Target::Outside(path) => format!("outside {}", path.join("::")),
        };
        of(&tree).iter().map(shown).collect()
    }

    #[test]
    fn paths_are_followed_through_groups_self_and_super() {
        let text = "//! A.\nuse crate::wire::{self, Table};\nuse super::guard::Guard;\nuse tokio::time as t;\n\
                    fn a() { crate::node::start(); std::mem::drop(1); }\n";

        assert_eq!(
            named(text),
            [
                "inside wire",
                "inside wire::Table",
                "inside loader::guard::Guard",
                "outside tokio::time",
                "inside node::start",
                "outside std::mem::drop"
            ]
        );
    }

    #[test]
    fn an_import_through_the_root_is_found_also_in_place() {
        let tree = Tree::of(&[
            ("group/src/lib.rs", "//! A.\npub use flight::Flights;\nmod flight;\nmod group;\n"),
            ("group/src/flight.rs", "//! A.\n"),
            (
                "group/src/group.rs",
                "//! A.\nuse crate::Flights;\nuse crate::flight::Flights as F;\nfn a(_: super::Flights) {}\n",
            ),
        ]);

        let lines: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();

        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("group/src/group.rs:2:"), "{lines:?}");
        assert!(lines[1].starts_with("group/src/group.rs:4:"), "{lines:?}");
    }

    #[test]
    fn tests_are_known_as_tests() {
        let tree =
            Tree::of(&[("ring/src/a.rs", "//! A.\n#[cfg(test)]\nmod tests {\n    use crate::b::C;\n}\n")]);

        assert!(of(&tree)[0].in_test);
    }
}
