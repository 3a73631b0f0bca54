//! What must hold of the definition as a whole, and of the files that hold it.

use std::path::Path;

use groupcache_crds::{CacheCluster, generated, manifest};
use serde_json::Value;

/// Client-side apply keeps the whole object in an annotation of at most 262,144 bytes.
const MAX_BYTES: usize = 200_000;

fn schema() -> Value {
    let definition = manifest::definition().expect("the definition");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Every schema within, with its path; the conditions' are Kubernetes' own.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    if path.ends_with("status.conditions[]") {
        return;
    }
    visit(path, schema);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), field, visit);
    }
    if schema["items"].is_object() {
        walk(&format!("{path}[]"), &schema["items"], visit);
    }
    if schema["additionalProperties"].is_object() {
        walk(&format!("{path}{{}}"), &schema["additionalProperties"], visit);
    }
}

#[test]
fn every_default_satisfies_its_own_schema() {
    let mut seen = 0;
    walk("", &schema(), &mut |path, schema| {
        let Some(default) = schema.get("default") else { return };
        seen += 1;
        assert_eq!(fault(default, schema), None, "{path}");
    });
    assert!(seen > 10, "the walk found {seen} defaults");
}

/// What is wrong with a value by the words of the schema that are used here.
fn fault(value: &Value, schema: &Value) -> Option<String> {
    if let Some(number) = value.as_f64() {
        let low = schema["minimum"].as_f64().filter(|low| number < *low);
        let high = schema["maximum"].as_f64().filter(|high| number > *high);
        if low.is_some() || high.is_some() {
            return Some(format!("{value} is out of bounds"));
        }
    }
    let kind = schema["type"].as_str();
    let fits = match (kind, value) {
        (Some("integer"), Value::Number(n)) => n.is_i64(),
        (Some("string") | None, Value::String(_)) => true,
        (Some("array"), Value::Array(_)) => true,
        (Some("object"), Value::Object(fields)) => {
            return fields.iter().find_map(|(name, value)| {
                let field = &schema["properties"][name];
                if field.is_null() { Some(format!("{name} is unknown")) } else { fault(value, field) }
            });
        }
        _ => false,
    };
    (!fits).then(|| format!("{value} is no {kind:?}"))
}

#[test]
fn everything_is_bounded_and_every_list_says_how_it_merges() {
    walk("", &schema(), &mut |path, schema| match schema["type"].as_str() {
        Some("array") => {
            assert!(schema["maxItems"].is_u64(), "{path} has no maxItems");
            assert!(schema["x-kubernetes-list-type"].is_string(), "{path} has no list type");
        }
        Some("string") => {
            assert!(schema["maxLength"].is_u64() || schema["enum"].is_array(), "{path} has no maxLength");
        }
        Some("integer") if path.starts_with(".spec") => {
            assert!(schema["minimum"].is_number() && schema["maximum"].is_number(), "{path} has no bounds");
        }
        Some("number" | "boolean") if path.starts_with(".spec") => {
            panic!("{path}: no fractions, and a word that can grow in place of a yes or no");
        }
        Some("object") if schema["additionalProperties"].is_object() => {
            assert!(schema["maxProperties"].is_u64(), "{path} has no maxProperties");
        }
        None => assert!(schema["maxLength"].is_u64(), "{path} has no maxLength"),
        _ => {}
    });
}

#[test]
fn every_rule_has_words_and_every_field_an_explanation() {
    let mut rules = 0;
    walk("", &schema(), &mut |path, schema| {
        for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
            rules += 1;
            let message = rule["message"].as_str().unwrap_or_default();
            assert!(message.contains("must"), "{path}: {rule} must say what must be");
        }
        let explained = schema["description"].as_str().is_some_and(|text| text.len() > 10);
        let is_element = path.ends_with("[]") || path.ends_with("{}") || path.is_empty();
        assert!(explained || is_element, "{path} is not explained");
    });
    assert!(rules >= 10, "the walk found {rules} rules");
}

#[test]
fn it_is_small_enough_for_kubectl_apply() {
    let bytes = serde_json::to_vec(&manifest::definition().expect("the definition")).expect("JSON").len();
    assert!(bytes < MAX_BYTES, "{bytes} bytes");
}

#[test]
fn the_committed_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    for (path, wanted) in generated::files().expect("the files") {
        let held = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(
            held == wanted,
            "{path} is stale; run `cargo run -p groupcache-crds --bin crdgen -- --write`"
        );
    }
}

#[test]
fn the_smallest_object_is_one_of_three_nodes() {
    let cluster: CacheCluster = serde_json::from_value(serde_json::json!({
        "apiVersion": "groupcache.dev/v1alpha1", "kind": "CacheCluster", "metadata": {"name": "a"}, "spec": {},
    }))
    .expect("a CacheCluster");
    assert_eq!(cluster.spec.replicas, 3);
    assert_eq!(cluster.spec.memory.cache_percent, 70);
    assert_eq!(cluster.spec.drain_seconds, 35);
}
