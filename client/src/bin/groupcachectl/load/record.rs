//! What came of the Gets: counted by each caller alone, added up at the end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use groupcache_client::client::Answer;
use groupcache_client::error::GetError;
use hdrhistogram::Histogram;

use crate::output::source_name;

/// Latencies are told apart by 1 %: a histogram is some 10 KiB then, and each caller has one.
const DIGITS: u8 = 2;

/// Texts of errors that are kept as examples, one per kind.
const EXAMPLES: usize = 8;

/// One caller's account, or all of them together.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) found: u64,
    pub(crate) not_found: u64,
    pub(crate) sources: BTreeMap<&'static str, u64>,
    pub(crate) errors: BTreeMap<&'static str, u64>,
    pub(crate) examples: BTreeMap<&'static str, String>,
    /// Latencies of the Gets that were answered, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Record {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Record {
            found: 0,
            not_found: 0,
            sources: BTreeMap::new(),
            errors: BTreeMap::new(),
            examples: BTreeMap::new(),
            latencies: Histogram::new(DIGITS)?,
        })
    }

    pub(crate) fn note(&mut self, answer: &Result<Answer, GetError>, took: Duration) {
        match answer {
            Ok(answer) => {
                *if answer.bytes.is_some() { &mut self.found } else { &mut self.not_found } += 1;
                *self.sources.entry(source_name(answer.source)).or_default() += 1;
                // It grows with what is recorded; only a latency of centuries would be refused.
                let _ = self.latencies.record(took.as_micros() as u64);
            }
            Err(error) => {
                *self.errors.entry(error.kind()).or_default() += 1;
                if self.examples.len() < EXAMPLES {
                    self.examples.entry(error.kind()).or_insert_with(|| error.to_string());
                }
            }
        }
    }

    pub(crate) fn add(&mut self, other: &Record) -> anyhow::Result<()> {
        self.found += other.found;
        self.not_found += other.not_found;
        for (name, count) in &other.sources {
            *self.sources.entry(name).or_default() += count;
        }
        for (name, count) in &other.errors {
            *self.errors.entry(name).or_default() += count;
        }
        for (name, example) in &other.examples {
            self.examples.entry(name).or_insert_with(|| example.clone());
        }
        self.latencies.add(&other.latencies)?;
        Ok(())
    }

    pub(crate) fn errors(&self) -> u64 {
        self.errors.values().sum()
    }

    pub(crate) fn gets(&self) -> u64 {
        self.found + self.not_found + self.errors()
    }
}

/// What the progress line reads while the callers run.
#[derive(Debug, Default)]
pub(crate) struct Live {
    gets: AtomicU64,
    errors: AtomicU64,
}

impl Live {
    pub(crate) fn note(&self, failed: bool) {
        self.gets.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gets that ended, and how many of them failed.
    pub(crate) fn read(&self) -> (u64, u64) {
        (self.gets.load(Ordering::Relaxed), self.errors.load(Ordering::Relaxed))
    }
}
