//! One object of the schema: its table of fields, and the patterns that are too long for a table.

use serde_json::Value;

use crate::reference::table::table;
use crate::reference::words;

/// An object and where it is, for example `spec.groups[]`.
pub(crate) struct Object<'a> {
    pub(crate) path: String,
    pub(crate) schema: &'a Value,
}

/// One field of an object.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    schema: &'a Value,
    required: bool,
}

impl<'a> Object<'a> {
    /// What must be set comes first; the rest is in the order of the alphabet.
    pub(crate) fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let required: Vec<&str> =
            self.schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let named = self.schema["properties"].as_object().into_iter().flatten();
        let mut fields: Vec<Field<'a>> = named
            .map(|(name, schema)| Field { name, schema, required: required.contains(&name.as_str()) })
            .collect();
        fields.sort_by_key(|field| !field.required);
        fields.into_iter()
    }

    pub(crate) fn table(&self) -> String {
        let row = |field: Field<'_>| {
            let name = match field.section(&self.path) {
                Some(section) => format!("[`{}`](#{})", field.name, anchor(&section)),
                None => format!("`{}`", field.name),
            };
            let default =
                if field.required { "must be set".to_owned() } else { words::default(field.schema) };
            let meaning = words::text(&field.schema["description"]) + &words::meanings(field.schema);
            vec![name, words::kind(field.schema), default, words::bounds(field.schema), meaning]
        };
        table(&["field", "type", "default", "may be", "meaning"], self.fields().map(row))
    }

    /// Regular expressions that fields must match.
    pub(crate) fn patterns(&self) -> String {
        let mut text = String::new();
        for field in self.fields() {
            let inner = &field.schema["additionalProperties"];
            let pattern = field.schema["pattern"].as_str().or_else(|| inner["pattern"].as_str());
            if let Some(pattern) = pattern {
                let what = if inner.is_object() { "each of its values matches" } else { "matches" };
                text.push_str(&format!("* `{}`: {what} `{pattern}`\n", field.name));
            }
        }
        if text.is_empty() { text } else { format!("\nPatterns:\n\n{text}") }
    }
}

impl Field<'_> {
    /// The path of the section that explains what is within, if anything is.
    fn section(&self, path: &str) -> Option<String> {
        let path = format!("{path}.{}", self.name);
        if self.schema["items"]["properties"].is_object() {
            return Some(format!("{path}[]"));
        }
        self.schema["properties"].is_object().then_some(path)
    }
}

/// The name under which hosts of repositories reach a heading that is a path.
fn anchor(path: &str) -> String {
    path.to_lowercase().chars().filter(|c| c.is_alphanumeric()).collect()
}
