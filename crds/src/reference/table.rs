//! Tables in Markdown whose cells cannot break them.

use std::fmt::Write;

/// A table; a bar within a cell does not end the cell.
pub(crate) fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        // Writing to a string cannot fail.
        writeln!(text, "| {} |", cells.join(" | ")).ok();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_stays_within_its_cell() {
        let rows = [vec!["a|b".to_owned(), String::new()]];

        assert_eq!(table(&["x", "y"], rows.into_iter()), "| x | y |\n|---|---|\n| a\\|b |  |\n");
    }
}
