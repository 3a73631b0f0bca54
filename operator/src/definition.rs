//! The definition of CacheClusters at the API server: whether it is there, and whether it is at least this program's.

use std::time::Duration;

use groupcache_crds::CacheCluster;
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

/// The fields that this program knows and the definition does not: the API server takes them out of every object. Each as a path from the object.
#[must_use]
pub fn lacking(definition: &CustomResourceDefinition) -> Vec<String> {
    let ours = CacheCluster::crd();
    let mut found = Vec::new();
    for version in &ours.spec.versions {
        let theirs = definition.spec.versions.iter().find(|other| other.name == version.name && other.served);
        let Some(theirs) = theirs else {
            found.push(format!("the version {}", version.name));
            continue;
        };
        if let (Some(ours), Some(theirs)) = (schema(version), schema(theirs)) {
            compare("", ours, theirs, &mut found);
        }
    }
    found
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

type Version =
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;

fn schema(version: &Version) -> Option<&JSONSchemaProps> {
    version.schema.as_ref()?.open_api_v3_schema.as_ref()
}

fn compare(path: &str, ours: &JSONSchemaProps, theirs: &JSONSchemaProps, found: &mut Vec<String>) {
    // What lies below is kept whatever it is.
    if theirs.x_kubernetes_preserve_unknown_fields == Some(true) {
        return;
    }
    for (name, ours) in ours.properties.iter().flatten() {
        let path = format!("{path}.{name}");
        match theirs.properties.as_ref().and_then(|properties| properties.get(name)) {
            Some(theirs) => compare(&path, ours, theirs, found),
            None => found.push(path),
        }
    }
    if let (Some(JSONSchemaPropsOrArray::Schema(ours)), Some(JSONSchemaPropsOrArray::Schema(theirs))) =
        (&ours.items, &theirs.items)
    {
        compare(&format!("{path}[]"), ours, theirs, found);
    }
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
        assert_eq!(earlier, [".spec.groups[].ttlSeconds", ".spec.managementState"]);
        let text = told(&earlier).expect("something lacks");
        assert!(text.contains("lacks .spec.groups[].ttlSeconds, .spec.managementState:"), "{text}");
        assert_eq!(told(&[]), None);
    }

    #[test]
    fn a_later_release_lacks_nothing_and_one_without_our_version_lacks_that() {
        let later = edited(|definition| {
            properties(definition, "spec/properties").insert("later".into(), json!({"type": "string"}));
        });
        assert_eq!(later, Vec::<String>::new());
        let unserved = edited(|definition| definition["spec"]["versions"][0]["served"] = json!(false));
        assert_eq!(unserved, ["the version v1alpha1"]);
    }
}
