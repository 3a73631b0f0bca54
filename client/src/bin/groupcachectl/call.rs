//! get and get-many: one call each.

use std::io::Write;

use anyhow::Context;
use bytes::Bytes;
use groupcache_client::client::{Answer, Client};
use groupcache_client::error::GetError;
use serde_json::{Map, Value, json};

use crate::args::Shared;
use crate::output::{Outcome, Output, bytes_field};

/// Connects as the shared arguments say.
pub(crate) async fn connect(shared: &Shared) -> anyhow::Result<Client> {
    let client = shared.builder()?.connect(&shared.address).await;
    client.with_context(|| format!("cannot reach {} (--address or GROUPCACHE_ADDRESS)", shared.address))
}

pub(crate) async fn get(shared: &Shared, group: &str, key: &str) -> anyhow::Result<Outcome> {
    let client = connect(shared).await?;
    let answer = client.answer(group, key.to_owned()).await;
    let answer = answer.with_context(|| format!("key {key:?} of group {group}"))?;
    match shared.output {
        Output::Json => println!("{}", Value::Object(as_json(group, key, &answer))),
        Output::Text => match &answer.bytes {
            Some(bytes) => print_bytes(bytes)?,
            None => eprintln!("no such key: {key} in group {group}"),
        },
    }
    Ok(if answer.bytes.is_some() { Outcome::Done } else { Outcome::NoSuchKey })
}

pub(crate) async fn get_many(shared: &Shared, group: &str, keys: &[String]) -> anyhow::Result<Outcome> {
    let client = connect(shared).await?;
    let asked = keys.iter().cloned().map(Bytes::from).collect();
    let results = client.get_many(group, asked).await.with_context(|| format!("group {group}"))?;
    let mut outcome = Outcome::Done;
    let mut rows = Vec::new();
    for (key, result) in keys.iter().zip(results) {
        let bytes = result.map(|value| value.map(|value| value.bytes));
        outcome = match &bytes {
            Err(_) => Outcome::Failed,
            Ok(None) if outcome == Outcome::Done => Outcome::NoSuchKey,
            Ok(_) => outcome,
        };
        match shared.output {
            Output::Json => rows.push(row(key, &bytes)),
            Output::Text => match bytes {
                Ok(Some(bytes)) => println!("{key}\t{}", String::from_utf8_lossy(&bytes)),
                Ok(None) => println!("{key}\t(no such key)"),
                Err(error) => println!("{key}\t(failed: {error})"),
            },
        }
    }
    if shared.output == Output::Json {
        println!("{}", json!({ "group": group, "results": rows }));
    }
    Ok(outcome)
}

fn as_json(group: &str, key: &str, answer: &Answer) -> Map<String, Value> {
    let mut map = Map::from_iter([
        ("group".to_owned(), json!(group)),
        ("key".to_owned(), json!(key)),
        ("found".to_owned(), json!(answer.bytes.is_some())),
        ("source".to_owned(), json!(crate::output::source_name(answer.source))),
        ("age_ms".to_owned(), json!(answer.age.as_millis())),
        ("ttl_ms".to_owned(), json!(answer.ttl.map(|ttl| ttl.as_millis()))),
        ("source_version".to_owned(), json!(answer.source_version)),
    ]);
    map.extend(answer.bytes.as_ref().map(|bytes| bytes_field("value", bytes)));
    map
}

fn row(key: &str, bytes: &Result<Option<Bytes>, GetError>) -> Value {
    let mut map = Map::from_iter([("key".to_owned(), json!(key))]);
    match bytes {
        Ok(bytes) => {
            map.insert("found".to_owned(), json!(bytes.is_some()));
            map.extend(bytes.as_ref().map(|bytes| bytes_field("value", bytes)));
        }
        Err(error) => {
            map.insert("error".to_owned(), json!(error.to_string()));
        }
    }
    Value::Object(map)
}

/// The value as it is, with a newline behind it where a person reads.
fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes)?;
    if std::io::IsTerminal::is_terminal(&stdout) {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()?;
    Ok(())
}
