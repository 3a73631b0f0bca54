//! What the API server noted of requests: who wrote what from where, and what came of it.

use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::settings;

/// One write of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The kind in the plural, such as `configmaps`; with a part of it, such as `cacheclusters/status`.
    pub what: String,
    /// The name of the object; empty: of many, or of one that had none yet.
    pub name: String,
    /// The status code of the answer.
    pub code: u64,
}

/// Writes that came from an address after a moment (as the audit log spells it, in UTC), in order; the Lease is left out.
///
/// # Errors
/// When there is no audit log.
pub fn writes_since(address: &str, moment: &str) -> Result<Vec<Write>> {
    let path = settings::path("CLUSTER_LOGS")?.join("audit.log");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let writes = events.filter(|event| {
        let from = event["sourceIPs"].as_array().into_iter().flatten().any(|ip| ip == address);
        let later = event["requestReceivedTimestamp"].as_str().is_some_and(|at| at > moment);
        from && later && event["stage"] == "ResponseComplete"
    });
    Ok(writes.filter_map(|event| write(&event)).collect())
}

fn write(event: &Value) -> Option<Write> {
    let verb = event["verb"].as_str()?;
    if !["create", "update", "patch", "delete"].contains(&verb) {
        return None;
    }
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (resource, part) = (text("/objectRef/resource"), text("/objectRef/subresource"));
    if resource == "leases" {
        return None;
    }
    let what = if part.is_empty() { resource.to_owned() } else { format!("{resource}/{part}") };
    let code = event.pointer("/responseStatus/code")?.as_u64()?;
    Some(Write { what, name: text("/objectRef/name").to_owned(), code })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn writes_are_told_from_reads_and_from_the_lease() {
        let event = |verb: &str, resource: &str| json!({"verb": verb, "objectRef": {"resource": resource, "name": "a"}, "responseStatus": {"code": 409}});

        let told = write(&event("update", "configmaps")).unwrap();
        assert_eq!((told.what.as_str(), told.name.as_str(), told.code), ("configmaps", "a", 409));
        assert_eq!(write(&event("get", "configmaps")), None);
        assert_eq!(write(&event("update", "leases")), None);
    }
}
