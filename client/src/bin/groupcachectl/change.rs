//! remove, set and flush: one call each, and a report of the nodes that did not acknowledge.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use groupcache_client::client::Storing;
use groupcache_client::error::RemoveError;
use serde_json::{Map, Value, json};

use crate::args::Shared;
use crate::call::connect;
use crate::output::{Outcome, Output};

/// The largest value that any group can allow.
const MAX_VALUE_BYTES: u64 = 8 << 20;

pub(crate) async fn remove(
    shared: &Shared,
    group: &str,
    keys: &[String],
    source_version: Option<u64>,
) -> anyhow::Result<Outcome> {
    let client = connect(shared).await?;
    let result = match keys {
        [key] => client.remove_versioned(group, key.clone(), source_version).await,
        _ if source_version.is_some() => bail!("--source-version is one key's: remove the keys one by one"),
        keys => client.remove_many(group, keys.iter().cloned().map(Bytes::from).collect()).await,
    };
    let listed = keys.join(", ");
    let done = Done { field: "removed", text: format!("removed from every node: {listed}") };
    let report = Map::from_iter([("group".to_owned(), json!(group)), ("keys".to_owned(), json!(keys))]);
    told(shared, &result, report, &done, &format!("remove of {listed} from group {group}"))
}

pub(crate) async fn set(
    shared: &Shared,
    group: &str,
    key: &str,
    value: Option<&str>,
    ttl: Option<Duration>,
    source_version: Option<u64>,
) -> anyhow::Result<Outcome> {
    let value = match value {
        Some(value) if value != "-" => Bytes::from(value.to_owned()),
        _ => from_standard_input()?,
    };
    let client = connect(shared).await?;
    let bytes = value.len();
    let result = client.set(group, key.to_owned(), value, Storing { ttl, source_version }).await;
    let done = Done { field: "set", text: format!("set in group {group}: {key}, {bytes} bytes") };
    let report = Map::from_iter([
        ("group".to_owned(), json!(group)),
        ("key".to_owned(), json!(key)),
        ("bytes".to_owned(), json!(bytes)),
    ]);
    told(shared, &result, report, &done, &format!("set of {key} in group {group}"))
}

pub(crate) async fn flush(shared: &Shared, group: &str, yes: bool) -> anyhow::Result<Outcome> {
    if !yes && std::io::stdin().is_terminal() && !confirmed(group)? {
        bail!("nothing was flushed: the answer was not yes");
    }
    let client = connect(shared).await?;
    let result = client.flush(group).await;
    let done = Done { field: "flushed", text: format!("flushed at every node: group {group}") };
    let report = Map::from_iter([("group".to_owned(), json!(group))]);
    told(shared, &result, report, &done, &format!("flush of group {group}"))
}

/// How success is told: to machines by a field, to people by a sentence.
struct Done {
    field: &'static str,
    text: String,
}

fn told(
    shared: &Shared,
    result: &Result<(), RemoveError>,
    mut report: Map<String, Value>,
    done: &Done,
    what: &str,
) -> anyhow::Result<Outcome> {
    if shared.output == Output::Text {
        result.clone().with_context(|| what.to_owned())?;
        println!("{}", done.text);
        return Ok(Outcome::Done);
    }
    report.insert(done.field.to_owned(), json!(result.is_ok()));
    if let Err(error) = result {
        report.insert("error".to_owned(), json!(error.to_string()));
    }
    if let Err(RemoveError::Partial(nodes)) = result {
        let nodes: Vec<_> =
            nodes.iter().map(|node| json!({ "node": node.node, "reason": node.reason })).collect();
        report.insert("missing".to_owned(), json!(nodes));
    }
    println!("{}", Value::Object(report));
    Ok(if result.is_ok() { Outcome::Done } else { Outcome::Failed })
}

fn from_standard_input() -> anyhow::Result<Bytes> {
    let mut value = Vec::new();
    // One byte more than may be, so that too much is noticed.
    std::io::stdin().lock().take(MAX_VALUE_BYTES + 1).read_to_end(&mut value).context("standard input")?;
    if value.len() as u64 > MAX_VALUE_BYTES {
        bail!("standard input is longer than {MAX_VALUE_BYTES} bytes, the most that a value may be");
    }
    Ok(Bytes::from(value))
}

fn confirmed(group: &str) -> anyhow::Result<bool> {
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "Purge every key of group {group} from every node? Each is loaded anew. [yes/no] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "yes"))
}
