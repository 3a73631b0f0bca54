//! The page that explains the fields explains every one of them, and every rule.

use std::collections::BTreeSet;

use groupcache_crds::{manifest, reference};
use serde_json::Value;

fn definition() -> Value {
    manifest::definition().expect("the definition")
}

/// What is within these is Kubernetes' own, and not ours to explain.
const KUBERNETES: [&str; 3] = [".conditions[]", ".scheduling.affinity", ".topologySpreadConstraints[]"];

/// Every field with its path, as the page writes it.
fn fields(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    if KUBERNETES.iter().any(|end| path.ends_with(end)) {
        return;
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let inner = format!("{path}.{name}");
        found.insert(inner.clone());
        fields(&inner, field, found);
    }
    if schema["items"].is_object() {
        fields(&format!("{path}[]"), &schema["items"], found);
    }
}

/// The cells of a row; a bar after a backslash is part of its cell.
fn cells(line: &str) -> Vec<String> {
    let hidden = line.replace("\\|", "\0");
    let inner = hidden.trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().replace('\0', "|")).collect()
}

/// Each row of the page's tables of fields: its path, and its cells.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let mut section = "";
    let mut rows = Vec::new();
    for line in page.lines() {
        if line.starts_with("##") {
            section = line.trim_start_matches('#').trim();
        }
        // Names stand between back-quotes; the heads of tables do not.
        if let Some(name) = line.strip_prefix('|').and_then(|cells| cells.split('`').nth(1))
            && (section.starts_with("spec") || section.starts_with("status"))
        {
            rows.push((format!("{section}.{name}"), cells(line)));
        }
    }
    rows
}

/// Turned red by: a field that the page leaves out, or a section for one that is not there.
#[test]
fn every_field_has_a_row_in_the_section_of_its_object() {
    let definition = definition();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut wanted = BTreeSet::new();
    for part in ["spec", "status"] {
        fields(part, &schema[part], &mut wanted);
    }
    assert!(wanted.len() > 50, "{wanted:?}");

    let told: BTreeSet<String> =
        rows(&reference::page(&definition)).into_iter().map(|(path, _)| path).collect();

    assert_eq!(told, wanted);
}

/// Turned red by: a default or bounds that the page does not tell, a word of an enumeration without its meaning, a bar that breaks a table.
#[test]
fn a_row_tells_the_type_the_default_the_bounds_and_the_meaning() {
    let rows = rows(&reference::page(&definition()));
    let row = |path: &str| {
        let found = rows.iter().find(|(other, _)| other == path);
        found.map(|(_, cells)| cells[1..].to_vec()).unwrap_or_else(|| panic!("no row for {path}"))
    };
    for (path, cells) in &rows {
        assert_eq!(cells.len(), 5, "{path}: {cells:?}");
        assert!(cells[4].len() > 10, "{path} is not explained: {cells:?}");
    }
    assert_eq!(row("spec.replicas")[..3], ["integer", "`3`", "0 to 256"]);
    assert_eq!(row("spec.groups[].name")[..3], ["string", "must be set", "1 to 63 characters"]);
    assert_eq!(row("spec.groups[].ttlSeconds")[..3], ["integer", "", "1 to 31536000"]);
    assert_eq!(row("spec.groups[].maxValueBytes")[..3], ["amount", "`1Mi`", ""]);
    assert_eq!(
        row("spec.groups[].aliases")[..3],
        ["list of strings", "", "at most 8 entries, each once, each of 1 to 253 characters"]
    );
    assert_eq!(
        row("spec.groups")[..3],
        ["list of objects", "none", "at most 64 entries, one for each `name`"]
    );
    assert_eq!(row("spec.resources.limits")[..3], ["map of amounts", "", "at most 8 entries"]);
    let mode = row("spec.tls.peer.mode");
    assert_eq!(mode[..3], ["word", "`OperatorManaged`", "`OperatorManaged`, `CaSecret`, `Disabled`"]);
    for path in ["spec.tls.peer.mode", "spec.groups[].onQuorumLoss", "spec.groups[].abandonedLoads"] {
        let row = row(path);
        for word in row[2].split(", ") {
            assert!(row[3].contains(&format!("{word}: ")), "{path} does not say what {word} means: {row:?}");
        }
    }
}

/// Turned red by: a rule, a pattern or a column that the page leaves out.
#[test]
fn every_rule_pattern_and_column_is_told() {
    let definition = definition();
    let page = reference::page(&definition);
    let mut told = 0;
    demand(&definition["spec"]["versions"][0], &mut |what| {
        told += 1;
        assert!(page.contains(what), "the page lacks {what}");
    });
    assert!(told > 50, "{told} texts were looked for");
}

fn demand(value: &Value, look: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text)
                        if ["rule", "message", "pattern", "jsonPath"].contains(&name.as_str()) =>
                    {
                        look(text);
                    }
                    _ => demand(value, look),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| demand(item, look)),
        _ => {}
    }
}
