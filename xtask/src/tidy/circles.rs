//! No two modules of a crate need each other: whoever reads one must not have read the other first.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::fault::Fault;
use crate::tidy::imports::{self, Import, Target};
use crate::tidy::tree::Tree;

type Module = Vec<String>;

/// Which module of one unit imports which, and where.
type Graph = BTreeMap<Module, BTreeMap<Module, (String, usize)>>;

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    graphs(tree).values().flat_map(faults).collect()
}

fn graphs(tree: &Tree) -> BTreeMap<String, Graph> {
    let modules: BTreeMap<String, BTreeSet<Module>> = imports::modules(tree);
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    for import in imports::of(tree) {
        // Tests look at whatever they like, and a root names all its modules.
        if import.in_test || import.from.module.is_empty() {
            continue;
        }
        let Some(to) = modules.get(&import.from.unit).and_then(|known| target(&import, known)) else {
            continue;
        };
        // A child is a part of its parent: it may use the parent's words. Its siblings and strangers may not use it back.
        let to_its_own = import.from.module.starts_with(&to);
        if !to_its_own {
            let edges = graphs.entry(import.from.unit).or_default().entry(import.from.module).or_default();
            edges.entry(to).or_insert((import.file, import.line));
        }
    }
    graphs
}

/// The module that a path leads to: the longest part of it that is a module.
fn target(import: &Import, known: &BTreeSet<Module>) -> Option<Module> {
    let Target::Inside(path) = &import.to else { return None };
    (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|module| known.contains(module))
}

fn faults(graph: &Graph) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut told = BTreeSet::new();
    for start in graph.keys().filter(|start| !told.contains(*start)).cloned().collect::<Vec<_>>() {
        let Some(circle) = shortest_circle(graph, &start) else { continue };
        if circle.iter().any(|module| told.contains(module)) {
            continue;
        }
        let (file, line) = &graph[&circle[0]][&circle[1]];
        let names: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
        let what = format!("modules need each other in a circle: {}", names.join(" -> "));
        faults.push(Fault::new(file, *line, what, "move what both need into a module below them"));
        told.extend(circle);
    }
    faults
}

/// The shortest way from `start` back to it, breadth first.
fn shortest_circle(graph: &Graph, start: &Module) -> Option<Vec<Module>> {
    let mut came_from: BTreeMap<&Module, &Module> = BTreeMap::new();
    let mut border = vec![start];
    while !border.is_empty() {
        let mut next = Vec::new();
        for from in border {
            for to in graph.get(from).into_iter().flat_map(BTreeMap::keys) {
                if to == start {
                    return Some(way_back(start, from, &came_from));
                }
                if !came_from.contains_key(to) {
                    came_from.insert(to, from);
                    next.push(to);
                }
            }
        }
        border = next;
    }
    None
}

fn way_back(start: &Module, last: &Module, came_from: &BTreeMap<&Module, &Module>) -> Vec<Module> {
    let mut way = vec![start.clone()];
    let mut at = last;
    while at != start {
        way.push(at.clone());
        at = came_from[at];
    }
    way.push(start.clone());
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circle_of_three_is_found_once_and_told_whole() {
        let tree = Tree::of(&[
            ("group/src/a.rs", "//! A.\nuse crate::b::B;\n"),
            ("group/src/b.rs", "//! A.\nuse crate::c::C;\n"),
            ("group/src/c.rs", "//! A.\n\nuse crate::a::A;\n"),
        ]);

        let faults = check(&tree);

        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(
            faults[0]
                .to_string()
                .contains("group/src/a.rs:2: modules need each other in a circle: a -> b -> c -> a")
        );
    }

    #[test]
    fn a_child_may_use_its_parents_words_but_siblings_make_a_circle() {
        let parent = ("operator/src/plan.rs", "//! A.\nuse crate::plan::service::S;\n");
        let child = ("operator/src/plan/service.rs", "//! A.\nuse super::Plan;\nuse crate::plan::pods::P;\n");
        let sibling = ("operator/src/plan/pods.rs", "//! A.\nuse crate::plan::service::S;\n");

        assert_eq!(check(&Tree::of(&[parent, child])), []);
        assert_eq!(check(&Tree::of(&[parent, child, sibling])).len(), 1);
    }

    #[test]
    fn tests_and_roots_make_no_circle() {
        let tree = Tree::of(&[
            ("group/src/lib.rs", "//! A.\nmod a;\nmod b;\npub use a::A;\n"),
            ("group/src/a.rs", "//! A.\nuse crate::b::B;\n"),
            ("group/src/b.rs", "//! A.\n#[cfg(test)]\nmod tests { use crate::a::A; use super::*; }\n"),
            ("ring/src/b.rs", "//! A.\nuse crate::a::A;\n"),
        ]);

        assert_eq!(check(&tree), []);
    }
}
