//! How a command ends and what it prints.

use clap::ValueEnum;
use groupcache_client::client::Source;
use serde_json::{Value, json};

/// The exit code for "no such key"; 0 is success, 1 failure, 2 wrong usage.
pub(crate) const NO_SUCH_KEY: u8 = 3;

/// How a command ended that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It ran, and what it reports is a failure.
    Failed,
    NoSuchKey,
}

/// For whom the output is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people; a value as it is.
    Text,
    /// One JSON document on standard output.
    Json,
}

/// Bytes as a JSON field: `{name: text}`, or `{name_hex: digits}` if they are no text.
pub(crate) fn bytes_field(name: &str, bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), json!(text)),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            (format!("{name}_hex"), json!(hex))
        }
    }
}

/// A source as the word that summaries use.
pub(crate) fn source_name(source: Source) -> &'static str {
    match source {
        Source::Unspecified => "unspecified",
        Source::Main => "main",
        Source::Hot => "hot",
        Source::Peer => "peer",
        Source::Loader => "loader",
        Source::Stale => "stale",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_written_in_hex() {
        assert_eq!(bytes_field("value", b"CRAB"), ("value".to_owned(), json!("CRAB")));
        assert_eq!(bytes_field("value", b"\xff\x00"), ("value_hex".to_owned(), json!("ff00")));
    }
}
