//! Objects that cannot work are refused at once, and the message names the field and the rule.

use anyhow::{Result, ensure};
use groupcache_e2e::namespace::scenario;

/// A bad object: what is wrong with it, the object, and words that the user must be told.
struct Bad {
    what: &'static str,
    name: &'static str,
    spec: &'static str,
    told: &'static [&'static str],
}

const LOADER: &str = "{name: names, grpc: {target: \"names:9000\"}}";

const BAD: &[Bad] = &[
    Bad {
        what: "a budget of nothing",
        name: "bad",
        spec: "groups: [{name: g, maxBytes: \"0\", loaderName: names}], loaders: [LOADER]",
        told: &["maxBytes", "must be greater than 0"],
    },
    Bad {
        what: "a loader that is not there",
        name: "bad",
        spec: "groups: [{name: g, maxBytes: 16Mi, loaderName: other}], loaders: [LOADER]",
        told: &["loaderName", "must name an entry of loaders"],
    },
    Bad {
        what: "a group twice",
        name: "bad",
        spec: "groups: [{name: g, maxBytes: 16Mi, loaderName: names}, {name: g, maxBytes: 8Mi, loaderName: names}], loaders: [LOADER]",
        told: &["spec.groups[1]", "Duplicate value"],
    },
    Bad {
        what: "a loader of two kinds",
        name: "bad",
        spec: "groups: [], loaders: [{name: names, grpc: {target: \"names:9000\"}, http: {url: \"http://names/{key}\"}}]",
        told: &["spec.loaders[0].grpc", "exactly one of grpc and http must be set"],
    },
    Bad {
        what: "an alias of two groups",
        name: "bad",
        spec: "groups: [{name: a, maxBytes: 8Mi, aliases: [g]}, {name: b, maxBytes: 8Mi, aliases: [g]}], loaders: [LOADER]",
        told: &["spec.groups", "names and aliases of groups must be unique"],
    },
    Bad {
        what: "a gRPC loader at a port that there cannot be",
        name: "bad",
        spec: "groups: [], loaders: [{name: names, grpc: {target: \"names:65536\"}}]",
        told: &["spec.loaders[0].grpc.target", "must end with a port of 1 to 65535"],
    },
    Bad {
        what: "an HTTP loader at a port that there cannot be",
        name: "bad",
        spec: "groups: [], loaders: [{name: names, http: {url: \"http://names:0/{key}\"}}]",
        told: &["spec.loaders[0].http.url", "must name a port of 1 to 65535"],
    },
    Bad {
        what: "a name that leaves no room for its pods' names",
        name: "a-name-of-more-than-forty-characters-is-too-long",
        spec: "groups: [], loaders: []",
        told: &["metadata.name", "at most 40 characters"],
    },
    Bad {
        what: "budgets above the memory limit",
        name: "bad",
        spec: "groups: [{name: g, maxBytes: 1Gi, loaderName: names}], loaders: [LOADER]",
        told: &["spec.groups", "must not be greater than memory.cachePercent"],
    },
    Bad {
        what: "more memory set aside than may be used",
        name: "bad",
        spec: "groups: [], loaders: [], resources: {requests: {memory: 129Mi}, limits: {memory: 128Mi}}",
        told: &["spec.resources.requests", "requests must not be greater than limits"],
    },
    Bad {
        what: "a label by which the operator finds its pods",
        name: "bad",
        spec: "groups: [], loaders: [], podMetadata: {labels: {groupcache.dev/cluster: other}}",
        told: &["spec.podMetadata.labels", "must not begin with groupcache.dev/"],
    },
];

/// Turned red by: a validation rule that is left out of the CRD, or one whose message does not name its field.
#[test]
fn objects_that_cannot_work_are_refused_with_the_field_and_the_rule() {
    scenario("refused_objects", |kubectl| -> Result<String> {
        for bad in BAD {
            let spec = bad.spec.replace("LOADER", LOADER);
            let resources = "resources: {limits: {memory: 128Mi}}, ";
            let resources = if spec.contains("resources:") { "" } else { resources };
            let yaml = format!(
                "apiVersion: groupcache.dev/v1alpha1\nkind: CacheCluster\nmetadata: {{name: {}}}\n\
                 spec: {{{resources}{spec}}}\n",
                bad.name
            );
            let told = kubectl.refused(&yaml)?;
            for words in bad.told {
                ensure!(told.contains(words), "{}: the message does not say {words:?}: {told}", bad.what);
            }
        }
        Ok(format!(
            "{} of {} bad objects refused, each message names the field and the rule",
            BAD.len(),
            BAD.len()
        ))
    });
}
