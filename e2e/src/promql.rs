//! The names in an expression of Prometheus' language: of metrics and of labels.
//!
//! Whether it is an expression at all is for promtool to say.

use std::collections::BTreeSet;

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Metrics, `_bucket` and the like included.
    pub metrics: BTreeSet<String>,
    /// Labels that it selects, groups or joins by.
    pub labels: BTreeSet<String>,
}

/// Words after which a list of labels stands in brackets.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words that are no names; functions are told by the bracket behind them.
const WORDS: [&str; 17] = [
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "count",
    "count_values",
    "topk",
    "bottomk",
    "quantile",
    "inf",
    "nan",
];

/// Finds the names.
#[must_use]
pub fn names(expression: &str) -> Names {
    let mut found = Names::default();
    let mut rest = expression;
    // Within braces or a list of labels, every word is a label.
    let (mut in_braces, mut in_labels) = (false, false);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' | '\'' | '`' => quoted(rest, first),
            '[' => rest.find(']').map_or(rest.len(), |end| end + 1),
            first if first.is_ascii_digit() => word(rest),
            first if is_in_name(first) => {
                let name = &rest[..word(rest)];
                let before_bracket = rest[name.len()..].trim_start().starts_with('(');
                if in_braces || in_labels {
                    found.labels.insert(name.to_owned());
                } else if BEFORE_LABELS.contains(&name) {
                    in_labels = before_bracket;
                } else if !before_bracket && !WORDS.contains(&name) {
                    found.metrics.insert(name.to_owned());
                }
                name.len()
            }
            other => {
                match other {
                    '{' => in_braces = true,
                    '}' => in_braces = false,
                    ')' => in_labels = false,
                    _ => {}
                }
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    found
}

fn is_in_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == ':'
}

/// How long the word or number is with which the text begins.
fn word(text: &str) -> usize {
    text.find(|letter| !is_in_name(letter) && letter != '.').unwrap_or(text.len())
}

/// How long the quoted text is with which the text begins, quotes included.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(expression: &str) -> (Vec<String>, Vec<String>) {
        let Names { metrics, labels } = names(expression);
        (metrics.into_iter().collect(), labels.into_iter().collect())
    }

    /// Turned red by: a metric or a label that is overlooked, or a word of the language that is taken for one.
    #[test]
    fn metrics_and_labels_are_told_from_words_and_texts() {
        let table: [(&str, &[&str], &[&str]); 6] = [
            ("up", &["up"], &[]),
            ("1 - rate(a_total{x=~\"b|c\",y!=\"}\"}[5m] offset 1h) / 1e3", &["a_total"], &["x", "y"]),
            ("histogram_quantile(0.9, sum by (le, g) (rate(h_bucket{}[5m])))", &["h_bucket"], &["g", "le"]),
            ("sum(a) / on (x) group_left () b", &["a", "b"], &["x"]),
            ("count (count_values (\"ring\", a)) or vector(0)", &["a"], &[]),
            ("sum without (x) (a:b and c unless d)", &["a:b", "c", "d"], &["x"]),
        ];
        for (expression, metrics, labels) in table {
            let told = told(expression);
            assert_eq!(told.0, metrics, "{expression}");
            assert_eq!(told.1, labels, "{expression}");
        }
    }
}
