//! The definition of CacheClusters at the API server: whether it is there, and whether it is at least this program's.

use std::time::Duration;

use groupcache_crds::{CacheCluster, fields};
use groupcache_process::readiness::Condition;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::{Api, Client, CustomResourceExt};
use thiserror::Error;

/// Pause between two looks for it.
const PAUSE: Duration = Duration::from_secs(2);
/// Fields that are named in full.
const MOST_NAMED: usize = 5;

/// Why CacheClusters cannot be used as this program means them.
#[derive(Debug, Error)]
pub enum Fault {
    /// The API server does not say.
    #[error("cannot read the CustomResourceDefinition {name}: {0}", name = CacheCluster::crd_name())]
    Unread(#[from] kube::Error),
    /// There is none.
    #[error("the CustomResourceDefinition {name} is missing; install it, for example with the chart", name = CacheCluster::crd_name())]
    Missing,
    /// The API server does not serve it yet.
    #[error("the CustomResourceDefinition {name} is not established yet", name = CacheCluster::crd_name())]
    NotEstablished,
}

/// Reads it.
///
/// # Errors
/// If CacheClusters are not served.
pub async fn read(client: &Client) -> Result<CustomResourceDefinition, Fault> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = definitions.get_opt(CacheCluster::crd_name()).await?.ok_or(Fault::Missing)?;
    if is_established(&definition) { Ok(definition) } else { Err(Fault::NotEstablished) }
}

/// Waits for it instead of ending: it may be installed after the operator.
pub async fn established(client: &Client, condition: &Condition) {
    loop {
        match read(client).await {
            Ok(definition) => {
                if let Some(lacking) = told(&lacking(&definition)) {
                    tracing::warn!("{lacking}");
                }
                condition.met();
                return;
            }
            Err(fault) => {
                tracing::warn!(reason = %fault, "waiting");
                condition.unmet(fault.to_string());
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The fields that this program knows and the definition does not: the API server takes them out of every object. Each with its version, as
/// a path from the object.
#[must_use]
pub fn lacking(definition: &CustomResourceDefinition) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in fields::HELD.lines() {
        let (version, path) = line.split_once(' ').unwrap_or_default();
        let served = definition.spec.versions.iter().find(|other| other.name == version && other.served);
        let schema = served.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
        // Where a field is missing, those below it are no news.
        let below = |of: &String| line.strip_prefix(of).is_some_and(|rest| rest.starts_with(['.', '[']));
        if !schema.is_some_and(|schema| knows(schema, path)) && !found.last().is_some_and(below) {
            found.push(line.to_owned());
        }
    }
    found
}

/// Whether the schema has the field at a path such as `.spec.groups[].name`.
fn knows(mut schema: &JSONSchemaProps, path: &str) -> bool {
    for step in path.split('.').skip(1) {
        // What lies below is kept whatever it is.
        if schema.x_kubernetes_preserve_unknown_fields == Some(true) {
            return true;
        }
        let (name, lists) = step.split_once('[').unwrap_or((step, ""));
        let Some(field) = schema.properties.as_ref().and_then(|properties| properties.get(name)) else {
            return false;
        };
        schema = field;
        for _ in lists.matches(']') {
            let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items else { return false };
            schema = items;
        }
    }
    true
}

/// What is lacking, as a sentence; `None`: nothing.
#[must_use]
pub fn told(lacking: &[String]) -> Option<String> {
    let more = lacking.len().saturating_sub(MOST_NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named = lacking.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    (!lacking.is_empty()).then(|| {
        format!(
            "the CustomResourceDefinition {} is of another release than this operator and lacks {named}{more}: \
             the API server drops them from every CacheCluster; install the definition of this release",
            CacheCluster::crd_name()
        )
    })
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Established" && c.status == "True")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn edited(edit: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut definition = serde_json::to_value(CacheCluster::crd()).expect("JSON");
        edit(&mut definition);
        lacking(&serde_json::from_value(definition).expect("a definition"))
    }

    fn properties<'a>(definition: &'a mut Value, below: &str) -> &'a mut serde_json::Map<String, Value> {
        let at = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{below}");
        definition.pointer_mut(&at).and_then(Value::as_object_mut).expect("properties")
    }

    #[test]
    fn a_definition_of_an_earlier_release_is_told_from_ours_field_by_field() {
        assert_eq!(edited(|_| ()), Vec::<String>::new());
        let earlier = edited(|definition| {
            properties(definition, "spec/properties").remove("managementState");
            properties(definition, "spec/properties/groups/items/properties").remove("ttlSeconds");
        });
        assert_eq!(earlier, ["v1alpha1 .spec.groups[].ttlSeconds", "v1alpha1 .spec.managementState"]);
        let text = told(&earlier).expect("something lacks");
        assert!(
            text.contains("lacks v1alpha1 .spec.groups[].ttlSeconds, v1alpha1 .spec.managementState:"),
            "{text}"
        );
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn a_later_release_lacks_nothing_and_one_without_our_version_lacks_that() {
        let later = edited(|definition| {
            properties(definition, "spec/properties").insert("later".into(), json!({"type": "string"}));
        });
        assert_eq!(later, Vec::<String>::new());
        let unserved = edited(|definition| definition["spec"]["versions"][0]["served"] = json!(false));
        assert_eq!(unserved, ["v1alpha1 .spec", "v1alpha1 .status"]);
    }
}
