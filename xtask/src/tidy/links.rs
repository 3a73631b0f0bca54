//! Links between our documents lead somewhere: to a file that is there, and to a heading that is in it.

use std::collections::BTreeSet;

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// Kinds of links that leave the repository; nobody is asked over the network.
const ELSEWHERE: [&str; 3] = ["https://", "http://", "mailto:"];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (line, target) in links(&file.text) {
            if let Some(what) = broken(tree, &file.path, &target) {
                faults.push(Fault::new(&file.path, line, what, "point the link at what is there"));
            }
        }
    }
    faults
}

fn broken(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if ELSEWHERE.iter().any(|prefix| target.starts_with(prefix)) {
        return None;
    }
    let (path, heading) =
        target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let to = if path.is_empty() { Some(from.to_owned()) } else { joined(from, path) };
    let Some(to) = to.filter(|to| to.is_empty() || tree.paths.contains(to)) else {
        return Some(format!("the link {target:?} leads to no file"));
    };
    let heading = heading.filter(|_| to.ends_with(".md"))?;
    let text = &tree.files.iter().find(|file| file.path == to)?.text;
    (!headings(text).contains(heading)).then(|| format!("the link {target:?} leads to no heading of {to}"))
}

/// The path that a relative link leads to; `None` if it leaves the workspace.
fn joined(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Lines that are prose, with their numbers: fenced code is left out.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((index + 1, line))
    })
}

fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (number, line) in prose(text) {
        // What stands between back-quotes is code.
        let words: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for (at, _) in words.match_indices("](") {
            let rest = &words[at + 2..];
            if let Some(end) = rest.find(')') {
                let target = rest[..end].split_whitespace().next().unwrap_or_default();
                links.push((number, target.to_owned()));
            }
        }
    }
    links
}

/// The names under which a page's headings are reached, as hosts of repositories make them.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = prose(text).filter(|(_, line)| line.starts_with('#'));
    titles
        .map(|(_, line)| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        let tree = Tree::of(&[
            ("docs/a.md", text),
            ("docs/b.md", "# The `one` heading\n"),
            ("README.md", "# Top\n"),
        ]);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_to_nothing_are_found_with_their_line() {
        let lines = lines("text\n[a](gone.md) [b](b.md#nowhere) [c](../../out.md)\n");

        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].starts_with("docs/a.md:2:"), "{lines:?}");
    }

    #[test]
    fn links_that_lead_somewhere_and_code_pass() {
        let text = "[a](b.md) [b](b.md#the-one-heading) [c](../README.md#top) [d](https://x.example/y)\n\
                    `[e](gone.md)`\n```\n[f](gone.md)\n```\n";

        assert_eq!(lines(text), Vec::<String>::new());
    }
}
