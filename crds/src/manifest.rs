//! The YAML of the definition: plain for `kubectl apply`, and wrapped in switches for the chart.

use kube::CustomResourceExt;
use serde_json::Value;

use crate::cluster::CacheCluster;

/// Where the plain YAML is kept, from the repository's root.
pub const PLAIN_PATH: &str = "crds/cacheclusters.yaml";

/// Where the chart's copy is kept, from the repository's root.
pub const CHART_PATH: &str = "charts/groupcache-operator/templates/crds/cacheclusters.yaml";

const HEADER: &str =
    "# Generated from the Rust types in crds/src by `cargo xtask crds`; not to be edited by hand.\n";

/// The definition as a JSON value, without the parts that only a server fills in.
///
/// # Errors
/// If the definition does not serialize, which no definition does.
pub fn definition() -> Result<Value, serde_json::Error> {
    let mut definition = serde_json::to_value(CacheCluster::crd())?;
    if let Some(object) = definition.as_object_mut() {
        object.remove("status");
    }
    Ok(definition)
}

/// The definition as plain YAML.
///
/// # Errors
/// If the definition does not serialize.
pub fn plain() -> Result<String, Box<dyn std::error::Error>> {
    Ok(format!("{HEADER}{}", serde_yaml::to_string(&definition()?)?))
}

/// The definition as a template of the chart: there is a switch for it, labels, and a policy to keep it.
///
/// # Errors
/// If the definition does not serialize.
pub fn chart() -> Result<String, Box<dyn std::error::Error>> {
    let yaml = serde_yaml::to_string(&definition()?)?.replace("{{", "{{ \"{{\" }}");
    let metadata = concat!(
        "metadata:\n",
        "  labels:\n",
        "    {{- include \"groupcache-operator.labels\" . | nindent 4 }}\n",
        "  {{- if .Values.crds.keep }}\n",
        "  annotations:\n",
        "    helm.sh/resource-policy: keep\n",
        "  {{- end }}\n",
    );
    let yaml = yaml.replacen("metadata:\n", metadata, 1);
    Ok(format!("{{{{- if .Values.crds.enabled }}}}\n{HEADER}{yaml}{{{{- end }}}}\n"))
}
