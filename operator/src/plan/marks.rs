//! Labels and annotations of the user's own, beside ours.

use std::collections::BTreeMap;

use groupcache_crds::metadata::OwnMetadata;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Adds what the user wants. What is there already stays: by our labels we find what we have made.
pub(super) fn add(own: &OwnMetadata, metadata: &mut ObjectMeta) {
    let labels = own.labels.iter().map(|(key, value)| (key, &value.0));
    beside(&mut metadata.labels, labels);
    let annotations = own.annotations.iter().map(|(key, value)| (key, &value.0));
    beside(&mut metadata.annotations, annotations);
}

fn beside<'a>(
    ours: &mut Option<BTreeMap<String, String>>,
    theirs: impl Iterator<Item = (&'a String, &'a String)>,
) {
    for (key, value) in theirs {
        ours.get_or_insert_default().entry(key.clone()).or_insert_with(|| value.clone());
    }
}
