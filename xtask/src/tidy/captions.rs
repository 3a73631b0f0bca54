//! Every Rust file says in its first line what it is for.

use crate::tidy::fault::Fault;
use crate::tidy::tree::{File, Tree};

/// A caption fits the window of whoever skims a folder.
const WIDEST: usize = 120;

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    tree.rust().filter_map(|(file, _)| fault(file)).collect()
}

fn fault(file: &File) -> Option<Fault> {
    const CURE: &str = "begin with `//! ` and one sentence that a stranger understands";
    let first = file.text.lines().next().unwrap_or_default();
    if first.strip_prefix("//! ").is_none_or(|sentence| sentence.trim().is_empty()) {
        return Some(Fault::new(&file.path, 1, "the first line does not say what the file is for", CURE));
    }
    if first.chars().count() > WIDEST {
        return Some(Fault::new(
            &file.path,
            1,
            format!("the caption is wider than {WIDEST} columns"),
            "shorten it",
        ));
    }
    let paragraph = file.text.lines().take_while(|line| line.starts_with("//! ")).last().unwrap_or_default();
    let ended = paragraph.trim_end().ends_with(['.', ':', '?', '!']);
    (!ended).then(|| Fault::new(&file.path, 1, "the caption is no whole sentence", CURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> usize {
        check(&Tree::of(&[("ring/src/a.rs", text)])).len()
    }

    #[test]
    fn a_file_without_a_caption_is_found() {
        assert_eq!(faults("use std::fmt;\n"), 1);
        assert_eq!(faults("\n//! Late.\n"), 1);
        assert_eq!(faults("//!\n"), 1);
    }

    #[test]
    fn a_caption_that_is_no_sentence_is_found() {
        assert_eq!(faults("//! helpers\n"), 1);
        assert_eq!(faults(&format!("//! {}.\n", "wide ".repeat(30))), 1);
    }

    #[test]
    fn a_sentence_passes_also_over_two_lines() {
        assert_eq!(faults("//! Who owns a key.\n"), 0);
        assert_eq!(faults("//! Who owns a key,\n//! and who is second.\n\nfn a() {}\n"), 0);
    }
}
