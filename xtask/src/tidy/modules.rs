//! Which modules of a crate may not know each other, or a part of the world: the table, and the check.

use crate::tidy::fault::Fault;
use crate::tidy::imports::{self, Import, Target};
use crate::tidy::tree::{Place, Tree};

/// Siblings that never import each other; one module above them joins them.
struct Apart {
    unit: &'static str,
    modules: &'static [&'static str],
    join: &'static str,
}

/// A module that never reaches a part of the outside world.
struct Closed {
    unit: &'static str,
    module: &'static str,
    to: &'static [&'static str],
    why: &'static str,
}

const APART: &[Apart] = &[
    Apart { unit: "group/src", modules: &["cache", "flight", "hot"], join: "group" },
    Apart { unit: "node/src", modules: &["transport", "membership", "loader"], join: "node" },
];

/// What a pure module has no use for.
const IMPURE: &[&str] = &[
    "kube::Client",
    "kube::client",
    "kube::Api",
    "kube::api::Api",
    "kube::runtime",
    "tokio::spawn",
    "tokio::select",
    "tokio::task",
    "tokio::net",
    "tokio::fs",
    "tokio::sync",
    "tokio::time::sleep",
    "tokio::time::timeout",
    "tokio::time::interval",
    "rand",
    // A moment may be handed in; asking for it may not. Both spellings are one path in the code.
    "Instant::now",
    "SystemTime::now",
    "std::env",
    "std::fs",
];
const PURE: &str = "it takes values and returns values, so that a test needs no world";

const CLOSED: &[Closed] = &[
    Closed { unit: "operator/src", module: "plan", to: IMPURE, why: PURE },
    Closed { unit: "operator/src", module: "roster", to: IMPURE, why: PURE },
    Closed { unit: "operator/src", module: "status", to: IMPURE, why: PURE },
    Closed {
        unit: "group/src",
        module: "",
        to: &["std::env", "std::fs", "std::net", "tokio::net", "tokio::fs"],
        why: "the loading process runs in a test without a socket or a file",
    },
    Closed {
        unit: "ring/src",
        module: "",
        to: &["std::env", "std::fs", "std::net", "std::time"],
        why: "the ring gives the same answer everywhere and for ever",
    },
];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let imports: Vec<Import> = imports::of(tree).into_iter().filter(|import| !import.in_test).collect();
    let mut faults: Vec<Fault> =
        imports.iter().flat_map(|import| APART.iter().filter_map(|rule| meets(rule, import))).collect();
    faults
        .extend(imports.iter().flat_map(|import| CLOSED.iter().filter_map(|rule| reaches_out(rule, import))));
    faults.extend(stale(tree));
    faults
}

fn meets(rule: &Apart, import: &Import) -> Option<Fault> {
    let Target::Inside(path) = &import.to else { return None };
    let from = import.from.module.first().filter(|_| import.from.unit == rule.unit)?;
    let to = path.first()?;
    let both = [from, to].iter().all(|name| rule.modules.contains(&name.as_str()));
    (both && from != to).then(|| {
        let what = format!("`{from}` knows its sibling `{to}`");
        Fault::new(&import.file, import.line, what, format!("let them meet in `{}`", rule.join))
    })
}

fn reaches_out(rule: &Closed, import: &Import) -> Option<Fault> {
    let Target::Outside(path) = &import.to else { return None };
    if import.from.unit != rule.unit || !belongs(&import.from, rule.module) {
        return None;
    }
    let path = path.join("::");
    let part = rule.to.iter().find(|part| path == **part || path.starts_with(&format!("{part}::")))?;
    let what = format!("`{}` reaches `{part}`", import.from.module.join("::"));
    Some(Fault::new(&import.file, import.line, what, format!("hand in the value instead: {}", rule.why)))
}

fn belongs(place: &Place, module: &str) -> bool {
    module.is_empty() || place.module.first().is_some_and(|first| first == module)
}

/// A table that names what is no longer there protects nothing.
fn stale(tree: &Tree) -> Vec<Fault> {
    let known = imports::modules(tree);
    let named = APART
        .iter()
        .flat_map(|rule| rule.modules.iter().chain([&rule.join]).map(|module| (rule.unit, *module)))
        .chain(CLOSED.iter().map(|rule| (rule.unit, rule.module)));
    named
        .filter(|(unit, module)| {
            let modules = known.get(*unit);
            // A made-up tree of a test need not hold every crate.
            modules.is_some_and(|all| !module.is_empty() && !all.contains(&vec![(*module).to_owned()]))
        })
        .map(|(unit, module)| {
            let what = format!("the table of directions names `{module}` of {unit}, which is not there");
            Fault::new("xtask/src/tidy/modules.rs", 1, what, "name the module that has its place now")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(files: &[(&str, &str)]) -> Vec<String> {
        let about_the_table = |line: &String| line.contains("table of directions");
        check(&Tree::of(files))
            .iter()
            .map(ToString::to_string)
            .filter(|line| !about_the_table(line))
            .collect()
    }

    #[test]
    fn siblings_that_know_each_other_are_found() {
        let lines = lines(&[
            ("node/src/loader/http.rs", "//! A.\nuse crate::transport::wire::Status;\n"),
            ("node/src/node.rs", "//! A.\nuse crate::{loader, transport};\n"),
        ]);

        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("node/src/loader/http.rs:2: `loader` knows its sibling `transport`"),
            "{lines:?}"
        );
    }

    #[test]
    fn a_pure_module_that_reaches_out_is_found_also_in_place() {
        let lines = lines(&[
            ("operator/src/plan/service.rs", "//! A.\nuse kube::{Client, ResourceExt};\n"),
            ("operator/src/roster.rs", "//! A.\nfn a() { let now = Instant::now(); }\n"),
            ("operator/src/apply.rs", "//! A.\nuse kube::Client;\n"),
        ]);

        assert_eq!(lines.len(), 2, "{lines:?}");
    }

    #[test]
    fn a_row_about_a_module_that_is_gone_is_found() {
        let faults = check(&Tree::of(&[("group/src/cache.rs", "//! A.\n")]));

        assert!(
            faults.iter().any(|fault| fault.to_string().contains("names `flight` of group/src")),
            "{faults:?}"
        );
    }
}
