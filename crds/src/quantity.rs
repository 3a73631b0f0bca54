//! Amounts of memory and processor time, as Kubernetes writes them: `64Mi`, `1.5Gi`, `250m`, `1000`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Longest text of an amount: more is no amount anybody means, and the bound keeps the CEL rules cheap.
const MAX_LENGTH: usize = 24;

/// The multipliers of the suffixes.
const SUFFIXES: [(&str, f64); 13] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("m", 1e-3),
];

/// An amount as the user wrote it; a bare number is taken too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quantity(pub String);

impl Quantity {
    /// The amount as a whole number, rounded down; `None` if it is none, or negative, or beyond 2^53.
    #[must_use]
    pub fn whole(&self) -> Option<u64> {
        let (digits, factor) = SUFFIXES
            .iter()
            .find_map(|(suffix, factor)| self.0.strip_suffix(suffix).map(|digits| (digits, *factor)))
            .unwrap_or((&self.0, 1.0));
        if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let amount = digits.parse::<f64>().ok()? * factor;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "0..=2^53 holds exactly in both"
        )]
        (0.0..=(1_u64 << 53) as f64).contains(&amount).then_some(amount as u64)
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Quantity(text.to_owned())
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        Ok(match Either::deserialize(from)? {
            Either::Number(number) => Quantity(number.to_string()),
            Either::Text(text) => Quantity(text),
        })
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": MAX_LENGTH,
            "minimum": 0,
            "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$",
        })
    }
}

/// The schema of an amount of bytes that rules can add up: whole, and at most about one pebibyte.
///
/// The bound is what lets the rules on budgets add and multiply without running over; and the API server's `asInteger` gives up on
/// amounts with a fraction or more digits than these.
pub(crate) fn bytes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "maxLength": 16,
        "minimum": 0,
        "maximum": 999_999_999_999_999_i64,
        "pattern": "^([0-9]{1,15}|[0-9]{1,11}(k|Ki)|[0-9]{1,8}(M|Mi)|[0-9]{1,5}(G|Gi)|[0-9]{1,2}(T|Ti))$",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_kubernetes_reads_them() {
        let table: [(&str, Option<u64>); 12] = [
            ("0", Some(0)),
            ("1000", Some(1_000)),
            ("64Mi", Some(64 << 20)),
            ("1.5Gi", Some(3 << 29)),
            ("2k", Some(2_000)),
            ("1500m", Some(1)),
            ("1Ti", Some(1 << 40)),
            ("-1", None),
            ("", None),
            ("Mi", None),
            ("64 Mi", None),
            ("16Ei", None),
        ];
        for (text, expected) in table {
            assert_eq!(Quantity::from(text).whole(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bare_number_is_an_amount() {
        let read: Quantity = serde_json::from_str("1024").unwrap();
        assert_eq!(read, Quantity::from("1024"));
    }
}
