//! Single words of the schema as a reader takes them: types, bounds, defaults, and what words of enumerations mean.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::schema_for;
use serde_json::Value;

use crate::cluster::CacheClusterSpec;

/// A text on one line, empty if there is none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What a value of this schema is.
pub(crate) fn kind(schema: &Value) -> String {
    if schema["x-kubernetes-int-or-string"] == true {
        return "amount".to_owned();
    }
    if schema["enum"].is_array() {
        return "word".to_owned();
    }
    match schema["type"].as_str().unwrap_or_default() {
        "array" => format!("list of {}s", kind(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map of {}s", kind(&schema["additionalProperties"]))
        }
        other => other.to_owned(),
    }
}

/// What a value of this schema may be; the pattern is told apart, because it is long.
pub(crate) fn bounds(schema: &Value) -> String {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("`{}`", text(word))).collect::<Vec<_>>().join(", ");
    }
    let number = |name: &str| schema[name].as_f64();
    let between = |low: Option<f64>, high: Option<f64>, unit: &str| match (low, high) {
        (Some(low), Some(high)) => Some(format!("{low} to {high}{unit}")),
        (None, Some(high)) => Some(format!("at most {high}{unit}")),
        (Some(low), None) => Some(format!("at least {low}{unit}")),
        (None, None) => None,
    };
    let mut said = Vec::new();
    if schema["type"] == "integer" {
        said.extend(between(number("minimum"), number("maximum"), ""));
    }
    if schema["type"] == "string" {
        said.extend(between(number("minLength"), number("maxLength"), " characters"));
    }
    said.extend(between(number("minItems"), number("maxItems"), " entries"));
    said.extend(between(number("minProperties"), number("maxProperties"), " entries"));
    if let Some(keys) = schema["x-kubernetes-list-map-keys"].as_array() {
        let keys: Vec<String> = keys.iter().map(|key| format!("`{}`", text(key))).collect();
        said.push(format!("one for each {}", keys.join(" and ")));
    }
    if schema["x-kubernetes-list-type"] == "set" {
        said.push("each once".to_owned());
    }
    if schema["items"]["type"] == "string" {
        said.push(format!("each of {}", bounds(&schema["items"])));
    }
    said.join(", ")
}

/// What holds where the user says nothing.
pub(crate) fn default(schema: &Value) -> String {
    match &schema["default"] {
        Value::Null => String::new(),
        // An object's default is that of its fields, which its own section tells.
        Value::Object(_) => "see there".to_owned(),
        Value::Array(_) => "none".to_owned(),
        Value::String(word) => format!("`{word}`"),
        other => format!("`{other}`"),
    }
}

/// What each word of an enumeration means: `` `Word`: what it means. ``
///
/// The definition of the API server has room for the words alone; their meanings stand beside the Rust variants, and each enumeration is found
/// again by its words.
pub(crate) fn meanings(schema: &Value) -> String {
    let Some(words) = schema["enum"].as_array() else { return String::new() };
    let Some(meanings) = MEANINGS.get(&words.iter().map(text).collect::<Vec<_>>()) else {
        return String::new();
    };
    words.iter().zip(meanings).map(|(word, meaning)| format!(" `{}`: {meaning}", text(word))).collect()
}

static MEANINGS: LazyLock<BTreeMap<Vec<String>, Vec<String>>> = LazyLock::new(|| {
    let schema = schema_for!(CacheClusterSpec).to_value();
    let kinds = schema["$defs"].as_object().into_iter().flatten();
    let enumerations = kinds.filter_map(|(_, kind)| kind["oneOf"].as_array());
    let told = enumerations.map(|variants| {
        let column = |name: &str| variants.iter().map(|variant| text(&variant[name])).collect();
        (column("const"), column("description"))
    });
    told.collect()
});
