//! Nothing in the project names the machine that it was written on.

use std::env;

use crate::tidy::fault::Fault;
use crate::tidy::tree::Tree;

/// Folders in which people keep their homes.
const HOMES: [&str; 2] = ["/home/", "/Users/"];
/// Homes that belong to an image or a user named in a document, not to the author's machine.
const NOBODYS: [&str; 2] = ["nonroot", "you"];

pub(crate) fn check(tree: &Tree) -> Vec<Fault> {
    let home = env::var("HOME").unwrap_or_default();
    let own: Vec<String> = [tree.root.as_str(), &home]
        .iter()
        // A root folder such as `/` or `/x` is in every path.
        .filter(|folder| folder.len() > 2)
        .map(|folder| format!("{}/", folder.trim_end_matches('/')))
        .collect();
    let mut faults = Vec::new();
    for file in &tree.files {
        for (index, line) in file.text.lines().enumerate() {
            if own.iter().any(|folder| line.contains(folder.as_str())) || names_a_home(line) {
                let cure = "write a path relative to the workspace, or `~` for a home";
                faults.push(Fault::new(&file.path, index + 1, "names a folder of one machine", cure));
            }
        }
    }
    faults
}

fn names_a_home(line: &str) -> bool {
    HOMES.iter().any(|prefix| {
        line.match_indices(prefix).any(|(at, _)| {
            let user = &line[at + prefix.len()..];
            let starts_a_name = user.starts_with(|c: char| c.is_ascii_alphanumeric());
            starts_a_name && !NOBODYS.iter().any(|name| user.starts_with(name))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_into_somebodys_home_is_found() {
        let text = format!("see {}alice/notes.md\n", HOMES[0]);

        assert_eq!(check(&Tree::of(&[("docs/a.md", &text)])).len(), 1);
    }

    #[test]
    fn the_checkouts_own_folder_is_found() {
        let tree = Tree { root: "/made/up".to_owned(), ..Tree::of(&[("docs/a.md", "run /made/up/x\n")]) };

        assert_eq!(check(&tree).len(), 1);
    }

    #[test]
    fn system_folders_pass() {
        assert_eq!(check(&Tree::of(&[("docs/a.md", "/usr/bin and ~/.cache and /homework/\n")])), []);
    }
}
