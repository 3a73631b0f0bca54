//! How often each key was loaded: what a cache in front of this loader is measured by.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Most keys that are counted one by one: some hundred bytes each, so 20 MB. The totals go on beyond it.
const MAX_COUNTED_KEYS: usize = 200_000;

/// Counters of the loads, whole and per key.
#[derive(Debug)]
pub struct Counts {
    registry: Registry,
    loads: Counter,
    not_found: Counter,
    failed: Counter,
    queries: Counter,
    by_key: Mutex<HashMap<String, u64>>,
}

impl Default for Counts {
    fn default() -> Self {
        let mut registry = Registry::default();
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            registry.register(name, help, counter.clone());
            counter
        };
        Counts {
            loads: counter("loads", "Keys asked for, each key of a LoadMany counted"),
            not_found: counter("loads_not_found", "Keys asked for that have no name"),
            failed: counter("loads_failed", "Keys asked for that were answered with an error"),
            queries: counter("queries", "SQL queries made for loads: a LoadMany makes one"),
            by_key: Mutex::default(),
            registry,
        }
    }
}

impl Counts {
    /// A key was asked for. Counted when the load begins, so that a load that hangs shows.
    pub fn asked(&self, key: &str) {
        self.loads.inc();
        let mut by_key = self.by_key.lock();
        if let Some(count) = by_key.get_mut(key) {
            *count += 1;
        } else if by_key.len() < MAX_COUNTED_KEYS {
            by_key.insert(key.to_owned(), 1);
        }
    }

    /// One SQL query answered `asked` keys, `found` of them with a name.
    pub fn answered(&self, asked: usize, found: usize) {
        self.queries.inc();
        self.not_found.inc_by(asked.saturating_sub(found) as u64);
    }

    /// So many keys were answered with an error.
    pub fn failed(&self, keys: usize) {
        self.failed.inc_by(keys as u64);
    }

    /// How many loads there were in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.loads.get()
    }

    /// How many loads of one key there were.
    #[must_use]
    pub fn of_key(&self, key: &str) -> u64 {
        self.by_key.lock().get(key).copied().unwrap_or(0)
    }

    /// The counters as a Prometheus scrape reads them.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; an empty scrape would show if it did.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
