//! Kubernetes' own types within ours: as they are, but bounded, and explained in one sentence a field.
//!
//! Their whole explanations would be a quarter of the definition (76 kB as JSON, not 57), which has to fit into an annotation. The API server takes the types apart again when they
//! reach an object of its own; bounds are here so that everything in a CacheCluster has some.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

/// Most entries of a list or map.
const MAX_ENTRIES: u32 = 64;
/// Longest text: a label's name is at most 317 characters, its value 63.
const MAX_TEXT: u32 = 317;

/// The schema of a type of Kubernetes'.
pub(crate) fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = T::json_schema(generator);
    if let Some(object) = schema.as_object_mut() {
        bound(object);
    }
    schema
}

/// The schema of a list of them.
pub(crate) fn list_schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut list = Map::new();
    list.insert("type".to_owned(), json!("array"));
    list.insert("items".to_owned(), schema::<T>(generator).to_value());
    list.insert("maxItems".to_owned(), json!(16));
    list.insert("x-kubernetes-list-type".to_owned(), json!("atomic"));
    list.into()
}

fn bound(schema: &mut Map<String, Value>) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = first_sentence(text);
    }
    let limits: &[(&str, Value)] = match schema.get("type").and_then(Value::as_str) {
        Some("array") => &[("maxItems", json!(MAX_ENTRIES)), ("x-kubernetes-list-type", json!("atomic"))],
        Some("string") => &[("maxLength", json!(MAX_TEXT))],
        // Weights, skews and counts of domains: none may be 0.
        Some("integer") => &[("minimum", json!(1)), ("maximum", json!(i32::MAX))],
        Some("object") if schema.contains_key("additionalProperties") => {
            &[("maxProperties", json!(MAX_ENTRIES))]
        }
        _ => &[],
    };
    schema.extend(limits.iter().map(|(name, limit)| ((*name).to_owned(), limit.clone())));
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut);
    fields.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut).for_each(bound);
    for inner in ["items", "additionalProperties"] {
        schema.get_mut(inner).and_then(Value::as_object_mut).into_iter().for_each(bound);
    }
}

/// Up to the first full stop that ends a sentence: those within have a small letter behind them, and "Required." by itself says nothing.
fn first_sentence(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let ends = line.match_indices(". ").map(|(at, _)| at).find(|at| {
        let next = line[at + 2..].chars().next();
        line[..*at].contains(' ') && next.is_some_and(|next| !next.is_lowercase())
    });
    ends.map_or_else(|| line.to_owned(), |at| line[..=at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_the_end_of_its_first_sentence() {
        for (text, expected) in [
            ("Keys count. More", "Keys count."),
            ("Required. Keys count. More", "Required. Keys count."),
            ("Keys (e.g. a zone) count. More", "Keys (e.g. a zone) count."),
            ("No end", "No end"),
            ("One.\n\nTwo.", "One."),
        ] {
            assert_eq!(first_sentence(text), expected);
        }
    }
}
