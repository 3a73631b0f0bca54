//! Files and functions stay short enough to be read as a whole.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// A file that grows beyond this has two jobs.
const LONGEST_FILE: usize = 400;
/// A function fits a screen; blank lines and comments are free.
const LONGEST_FUNCTION: usize = 60;

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (file, syntax) in tree.rust() {
        let lines: Vec<&str> = file.text.lines().collect();
        if lines.len() > LONGEST_FILE {
            let what = format!("{} lines, {LONGEST_FILE} are the limit", lines.len());
            faults.push(Fault::new(&file.path, LONGEST_FILE + 1, what, "split the file by noun"));
        }
        let mut functions = Functions { path: &file.path, lines: &lines, faults: &mut faults };
        functions.visit_file(syntax);
    }
    faults
}

struct Functions<'a> {
    path: &'a str,
    lines: &'a [&'a str],
    faults: &'a mut Vec<Fault>,
}

impl Functions<'_> {
    fn measure(&mut self, name: &syn::Ident, body: &syn::Block) {
        let span = body.span();
        let (first, last) = (span.start().line, span.end().line);
        let inner = self.lines.get(first..last.saturating_sub(1)).unwrap_or_default();
        let counted =
            inner.iter().map(|line| line.trim()).filter(|line| !line.is_empty() && !line.starts_with("//"));
        let count = counted.count();
        if count > LONGEST_FUNCTION {
            let what = format!("function {name} has {count} lines, {LONGEST_FUNCTION} are the limit");
            self.faults.push(Fault::new(
                self.path,
                first,
                what,
                "move steps of it into functions of their own",
            ));
        }
    }
}

impl<'a> Visit<'a> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        self.measure(&function.sig.ident, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'a syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig.ident, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("//! A.\n\nimpl A {{\n    fn long() {{\n{}    }}\n}}\n", "        step();\n".repeat(lines))
    }

    #[test]
    fn a_function_above_the_limit_is_found_where_it_begins() {
        let text = function(LONGEST_FUNCTION + 1);

        let faults = check(&Tree::of(&[("ring/src/a.rs", &text)]));

        assert_eq!(faults.len(), 1);
        assert!(
            faults[0].to_string().starts_with("ring/src/a.rs:4: function long has 61 lines"),
            "{}",
            faults[0]
        );
    }

    #[test]
    fn a_function_at_the_limit_passes_and_comments_are_free() {
        let text = function(LONGEST_FUNCTION).replacen("step();\n", "step();\n        // why\n\n", 3);

        assert_eq!(check(&Tree::of(&[("ring/src/a.rs", &text)])), []);
    }

    #[test]
    fn a_file_above_the_limit_is_found() {
        let text = format!("//! A.\n{}", "// line\n".repeat(LONGEST_FILE));

        assert_eq!(check(&Tree::of(&[("ring/src/a.rs", &text)])).len(), 1);
    }
}
