//! A test either runs or is not there.

use syn::visit::{self, Visit};

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (file, syntax) in tree.rust() {
        Attributes { path: &file.path, faults: &mut faults }.visit_file(syntax);
    }
    faults
}

struct Attributes<'a> {
    path: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Visit<'a> for Attributes<'_> {
    fn visit_attribute(&mut self, attribute: &'a syn::Attribute) {
        if attribute.path().is_ident("ignore") {
            let line = attribute.pound_token.spans[0].start().line;
            let cure = "make it run in its tier, or assert what happens today and say why that is wrong";
            self.faults.push(Fault::new(self.path, line, "an ignored test is a test that nobody runs", cure));
        }
        visit::visit_attribute(self, attribute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ignored_test_is_found_with_and_without_a_reason() {
        let text = "//! A.\n#[test]\n#[ignore]\nfn a() {}\n#[test]\n#[ignore = \"slow\"]\nfn b() {}\n";

        let faults = check(&Tree::of(&[("ring/src/a.rs", text)]));

        assert_eq!(faults.len(), 2);
        assert!(faults[1].to_string().starts_with("ring/src/a.rs:6:"), "{}", faults[1]);
    }
}
