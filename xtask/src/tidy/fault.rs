//! One broken rule: where it is, what is wrong and what to do.

use std::fmt;

/// Prints as `path:line: what; what to do`, which editors turn into a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    path: String,
    line: usize,
    what: String,
    cure: String,
}

impl Fault {
    /// Lines count from 1.
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), cure: cure.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}; {}", self.path, self.line, self.what, self.cure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_prints_as_an_editor_reads_it() {
        let fault = Fault::new("ring/src/hash.rs", 7, "too long", "split it");

        assert_eq!(fault.to_string(), "ring/src/hash.rs:7: too long; split it");
    }
}
