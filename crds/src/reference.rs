//! The page for users that explains every field of a `CacheCluster`, made from the definition.

mod object;
mod table;
mod words;

use serde_json::Value;

use crate::reference::object::Object;
use crate::reference::table::table;

/// Where the page is kept, from the repository's root.
pub const PATH: &str = "docs/reference/cachecluster.md";

/// Kubernetes' own types, explained in one sentence instead of by their long comments, each with its path.
const KUBERNETES: [(&str, &str); 3] = [
    (
        "status.conditions[]",
        "as all conditions in Kubernetes: [what they say, and what to do](../operations/conditions.md)",
    ),
    (
        "spec.scheduling.affinity",
        "as the [affinity of a pod](https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#affinity-and-anti-affinity)",
    ),
    (
        "spec.scheduling.topologySpreadConstraints[]",
        "as the [spread constraints of a pod](https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/)",
    ),
];

/// The page, as Markdown: what holds for the object as a whole, then one section for each object within, then what `kubectl get` shows.
#[must_use]
pub fn page(definition: &Value) -> String {
    let version = &definition["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let mut sections = vec![head(definition, version)];
    sections.extend(objects(schema).iter().map(section));
    sections.push(columns(version));
    sections.join("\n")
}

fn head(definition: &Value, version: &Value) -> String {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let schema = &version["schema"]["openAPIV3Schema"];
    let scale = &version["subresources"]["scale"];
    let mut text = format!(
        "# {} reference\n\n\
         Made by `cargo xtask crds` from the Rust types in `crds/src`; not to be edited by hand.\n\n{}\n\n\
         `apiVersion: {}/{}`, `kind: {}`; for kubectl `{}`, `{}` or, with its relatives, `{}`. {}.\n\
         `kubectl scale` and autoscalers write `{}` and read `{}`.\n\n\
         An *amount* is a number, or a text such as `64Mi`; a *word* is one of those that are listed. What has no default may be left out.\n",
        words::text(&names["kind"]),
        words::text(&schema["description"]),
        words::text(&spec["group"]),
        words::text(&version["name"]),
        words::text(&names["kind"]),
        words::text(&names["plural"]),
        words::text(&names["shortNames"][0]),
        words::text(&names["categories"][0]),
        words::text(&spec["scope"]),
        words::text(&scale["specReplicasPath"]).trim_start_matches('.'),
        words::text(&scale["statusReplicasPath"]).trim_start_matches('.'),
    );
    text.push_str(&rules(schema));
    text
}

/// Every object of the schema with its path, outer ones first.
fn objects(schema: &Value) -> Vec<Object<'_>> {
    let mut found = Vec::new();
    for part in ["spec", "status"] {
        collect(part, &schema["properties"][part], &mut found);
    }
    found
}

fn collect<'a>(path: &str, schema: &'a Value, found: &mut Vec<Object<'a>>) {
    if schema["items"].is_object() {
        collect(&format!("{path}[]"), &schema["items"], found);
    }
    if let Some(fields) = schema["properties"].as_object() {
        found.push(Object { path: path.to_owned(), schema });
        if of_kubernetes(path).is_none() {
            for (name, field) in fields {
                collect(&format!("{path}.{name}"), field, found);
            }
        }
    }
}

fn of_kubernetes(path: &str) -> Option<&'static str> {
    KUBERNETES.iter().find(|(other, _)| *other == path).map(|(_, sentence)| *sentence)
}

fn section(object: &Object<'_>) -> String {
    let depth = object.path.matches('.').count().min(2);
    let mut text = format!("{} {}\n\n", "#".repeat(depth + 2), object.path);
    if let Some(sentence) = of_kubernetes(&object.path) {
        let names: Vec<String> = object.fields().map(|field| format!("`{}`", field.name)).collect();
        let whose = if object.path.ends_with("[]") { "Each" } else { "It" };
        text.push_str(&format!("{whose} has {}, {sentence}.\n", names.join(", ")));
        return text;
    }
    text.push_str(&format!("{}\n\n", words::text(&object.schema["description"])));
    text.push_str(&object.table());
    text.push_str(&object.patterns());
    text.push_str(&rules(object.schema));
    text
}

/// What the API server checks beyond each field by itself, in its own words.
fn rules(schema: &Value) -> String {
    let mut text = String::new();
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        if text.is_empty() {
            text.push_str("\nRules, as the API server says and checks them:\n\n");
        }
        let message = words::text(&rule["message"]);
        text.push_str(&format!("* {message}\\\n  `{}`\n", words::text(&rule["rule"])));
    }
    text
}

fn columns(version: &Value) -> String {
    let rows = version["additionalPrinterColumns"].as_array().into_iter().flatten().map(|column| {
        let wide = column["priority"].as_i64().unwrap_or_default() > 0;
        let path = words::text(&column["jsonPath"]);
        let meaning = words::text(&column["description"]);
        let shown = if wide { "with `-o wide`" } else { "always" };
        vec![words::text(&column["name"]), shown.to_owned(), format!("`{path}`"), meaning]
    });
    format!("## Columns of kubectl get\n\n{}", table(&["column", "shown", "from", "meaning"], rows))
}
