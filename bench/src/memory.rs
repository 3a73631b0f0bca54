//! What an entry really costs: the growth of this process's memory beside what the group charges for it.

use std::time::Duration;

use anyhow::Context;
use groupcache_group::group::{Group, Origin, Settings, StoreKind};
use groupcache_group::loader::{FnLoader, Loaded};
use groupcache_group::value::Key;
use serde::Serialize;
use tokio::time::Instant;

/// Entries that are kept: enough that what the process uses besides does not count.
const ENTRIES: usize = 400_000;

/// Bytes of a key.
const KEY_BYTES: usize = 17;

/// What one store took for entries of one size.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// The store.
    pub store: String,
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Entries that the group held at the end.
    pub entries: u64,
    /// Growth of the resident memory for each of them, in bytes, beyond its key and value.
    pub resident_over: f64,
    /// What the group charged for each of them, beyond its key and value.
    pub charged_over: f64,
}

/// Fills a group of `store` with values of `value_bytes`. Twice as many come as fit with `churn`, so that keys without a value are remembered too.
/// Memory that was used once may stay with the process: measure one figure in a process.
///
/// # Errors
/// If a load fails, or the system does not tell the process's memory.
pub async fn run(store: StoreKind, value_bytes: usize, churn: bool) -> anyhow::Result<Cost> {
    let payload = KEY_BYTES + value_bytes;
    let budget = if churn { ENTRIES * (payload + 300) } else { ENTRIES * (payload + 2_000) };
    let settings = Settings { store, hot_percent: 0, ..Settings::new("memory", budget as u64) };
    let loader = FnLoader::new("zeros", move |_| async move { Ok(Loaded::value(vec![0; value_bytes])) });
    let before = resident()?;
    let group = Group::alone(settings, std::sync::Arc::new(loader));
    for n in 0..if churn { ENTRIES * 3 } else { ENTRIES } {
        let key = Key::new(format!("user:{n:012}"), KEY_BYTES)?;
        let deadline = Instant::now() + Duration::from_secs(5);
        let answer = group.get(key.clone(), Origin::Client, deadline).await.context("a load failed")?;
        drop(answer);
        // A hit: the first one of a value is when its buffer becomes a shared one.
        drop(group.cached(key.as_bytes(), Origin::Client));
    }
    let sizes = group.sizes();
    let entries = sizes.main_entries as f64;
    let each = |bytes: u64| bytes as f64 / entries - payload as f64;
    Ok(Cost {
        store: format!("{store:?}"),
        value_bytes,
        entries: sizes.main_entries,
        resident_over: each(resident()?.saturating_sub(before)),
        charged_over: each(sizes.main_bytes),
    })
}

/// Bytes of this process's memory that are resident.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("reading this process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in it")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS is no number")?;
    Ok(kib * 1_024)
}
