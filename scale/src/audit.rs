//! What the API server noted of the operator: which requests, when, and about which cluster.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) at: Timestamp,
    pub(crate) verb: String,
    /// With its part, as in `pods/eviction`.
    pub(crate) resource: String,
    pub(crate) uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    request_received_timestamp: Timestamp,
    user: User,
    object_ref: Option<ObjectRef>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct ObjectRef {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
}

impl Request {
    /// Asks for nothing to be changed.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }

    /// Keeps the Lease, or looks at it.
    pub(crate) fn is_of_lease(&self) -> bool {
        self.resource == "leases"
    }
}

/// Every request of a user in the audit logs of a folder: the current one and what was cut off it when it grew.
///
/// # Errors
/// When a log cannot be read.
pub(crate) fn requests(folder: &Path, user: &str) -> Result<Vec<Request>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("audit") && name.ends_with(".log") {
            let mut log = BufReader::new(File::open(&path)?);
            read(&mut log, user, &mut all).with_context(|| format!("reading {}", path.display()))?;
        }
    }
    Ok(all)
}

fn read(log: &mut impl BufRead, user: &str, into: &mut Vec<Request>) -> Result<()> {
    let mut line = String::new();
    // The last line may be half written: the API server runs on.
    while log.read_line(&mut line)? > 0 && line.ends_with('\n') {
        // Most lines are of others: not worth reading whole.
        if line.contains(user) {
            let event: Event = serde_json::from_str(&line).context("a line of the audit log")?;
            into.extend(request(event, user));
        }
        line.clear();
    }
    Ok(())
}

/// A watch is noted when it begins, everything else when it is answered.
fn request(event: Event, user: &str) -> Option<Request> {
    let stage = if event.verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
    if event.user.username != user || event.stage != stage {
        return None;
    }
    let object = event.object_ref?;
    let part = if object.subresource.is_empty() { String::new() } else { format!("/{}", object.subresource) };
    Some(Request {
        at: event.request_received_timestamp,
        verb: event.verb,
        resource: object.resource + &part,
        uri: event.request_uri,
    })
}

/// How often each verb was used on each kind.
pub(crate) fn by_kind<'a>(requests: impl Iterator<Item = &'a Request>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for request in requests {
        *counted.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(user: &str, verb: &str, stage: &str) -> String {
        format!(
            r#"{{"stage":"{stage}","verb":"{verb}","requestURI":"/x","requestReceivedTimestamp":"2026-01-01T00:00:00.000001Z","user":{{"username":"{user}"}},"objectRef":{{"resource":"pods","subresource":"status"}}}}"#
        ) + "\n"
    }

    #[test]
    fn a_request_counts_once_and_only_if_it_is_the_users() {
        let log = line("us", "get", "ResponseComplete")
            + &line("us", "watch", "ResponseStarted")
            + &line("us", "watch", "ResponseComplete")
            + &line("them-and-us", "get", "ResponseComplete")
            + "{\"half\": \"us";
        let mut all = Vec::new();
        read(&mut log.as_bytes(), "us", &mut all).unwrap();
        let counted = by_kind(all.iter());
        assert_eq!(
            counted.into_iter().collect::<Vec<_>>(),
            [("get pods/status".to_owned(), 1), ("watch pods/status".to_owned(), 1)]
        );
    }
}
