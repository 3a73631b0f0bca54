//! The fields of the definition as plain text, to compare another definition without the code that makes this one.

use serde_json::Value;

/// Where the list is kept, from the repository's root.
pub const PATH: &str = "crds/fields.txt";

/// Every field as it is kept, one a line: the version, a blank, and the path from the object, with `[]` for the items of a list.
pub const HELD: &str = include_str!("../fields.txt");

/// The list anew, from a definition.
#[must_use]
pub fn list(definition: &Value) -> String {
    let mut lines = Vec::new();
    for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
        let name = version["name"].as_str().unwrap_or_default();
        collect(&format!("{name} "), &version["schema"]["openAPIV3Schema"], &mut lines);
    }
    lines.concat()
}

fn collect(path: &str, schema: &Value, lines: &mut Vec<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        lines.push(format!("{path}\n"));
        collect(&path, field, lines);
    }
    if schema["items"].is_object() {
        collect(&format!("{path}[]"), &schema["items"], lines);
    }
}
