//! What a page shows as a file of this repository is that file, to the letter.

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// Pages whose blocks in these languages are files that a reader also finds in the clone.
const PAGES: [&str; 2] = ["README.md", "docs/your-own-loader.md"];
const LANGUAGES: [&str; 3] = ["python", "yaml", "json"];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let pages = tree.files.iter().filter(|file| PAGES.contains(&file.path.as_str()));
    let blocks = pages.flat_map(|page| blocks(&page.text).into_iter().map(move |block| (page, block)));
    blocks
        .filter(|(_, block)| LANGUAGES.contains(&block.language))
        .filter(|(_, block)| !tree.files.iter().any(|file| file.text == block.text))
        .map(|(page, block)| {
            let what = format!("this {} block is no file of the repository any more", block.language);
            Fault::new(
                &page.path,
                block.line,
                what,
                "copy the file's text into the page, or the page's into the file",
            )
        })
        .collect()
}

/// One fenced block of a page.
pub(crate) struct Block<'a> {
    /// Of its fence.
    pub(crate) line: usize,
    pub(crate) language: &'a str,
    pub(crate) text: String,
}

/// The fenced blocks of a page, in order.
pub(crate) fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut found: Vec<Block<'_>> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if inside => inside = false,
            Some(language) => {
                inside = true;
                found.push(Block { line: index + 1, language: language.trim(), text: String::new() });
            }
            None if inside => {
                if let Some(block) = found.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            None => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(file: &str) -> usize {
        let page = "text\n```yaml\nname: a\n```\n```sh\nrm it\n```\n";
        check(&Tree::of(&[(PAGES[0], page), ("examples/a.yaml", file)])).len()
    }

    #[test]
    fn a_block_that_is_no_longer_its_file_is_found() {
        assert_eq!(faults("name: a\n"), 0);
        assert_eq!(faults("name: b\n"), 1);
    }

    #[test]
    fn other_pages_may_show_what_they_like() {
        assert_eq!(check(&Tree::of(&[("CONTRIBUTING.md", "```yaml\na: b\n```\n")])), []);
    }
}
