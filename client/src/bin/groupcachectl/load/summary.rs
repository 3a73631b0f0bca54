//! The account of a load, for people and for machines.

use std::fmt::Write;
use std::time::Duration;

use groupcache_client::client::Attempts;
use serde::Serialize;
use serde_json::{Value, json};

use crate::load::record::{Live, Record};

/// Everything that is known at the end.
pub(crate) struct Summary {
    pub(crate) record: Record,
    pub(crate) attempts: Attempts,
    pub(crate) elapsed: Duration,
    pub(crate) callers: usize,
    pub(crate) nodes: usize,
    pub(crate) timeline: Option<Vec<Second>>,
}

/// One second of a load, or everything up to now.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Second {
    /// 1 for the first.
    second: u64,
    gets: u64,
    errors: u64,
    raw_failed: u64,
    retries: u64,
}

impl Second {
    pub(crate) fn now(live: &Live, attempts: Attempts) -> Self {
        let (gets, errors) = live.read();
        Second { second: 0, gets, errors, raw_failed: attempts.failed, retries: attempts.retries }
    }

    pub(crate) fn since(&self, before: &Second, second: u64) -> Second {
        Second {
            second,
            gets: self.gets - before.gets,
            errors: self.errors - before.errors,
            raw_failed: self.raw_failed - before.raw_failed,
            retries: self.retries - before.retries,
        }
    }

    pub(crate) fn as_line(&self, nodes: usize) -> String {
        let Second { second, gets, errors, raw_failed, .. } = self;
        format!(
            "{second:>4} s  {gets:>7} Gets  {errors} failed  {raw_failed} failed attempts  {nodes} nodes connected"
        )
    }
}

impl Summary {
    fn per_second(&self) -> f64 {
        self.record.gets() as f64 / self.elapsed.as_secs_f64().max(0.001)
    }

    pub(crate) fn as_json(&self) -> Value {
        let Record { found, not_found, sources, errors, examples, latencies } = &self.record;
        let mut summary = json!({
            "gets": self.record.gets(),
            "found": found,
            "not_found": not_found,
            "errors": self.record.errors(),
            "errors_by_kind": errors,
            "error_examples": examples,
            "raw_attempts": self.attempts.sent,
            "raw_failed": self.attempts.failed,
            "retries": self.attempts.retries,
            "sources": sources,
            "latency_us": {
                "p50": latencies.value_at_quantile(0.5),
                "p99": latencies.value_at_quantile(0.99),
                "max": latencies.max(),
            },
            "seconds": self.elapsed.as_secs_f64(),
            "gets_per_second": self.per_second(),
            "callers": self.callers,
            "nodes": self.nodes,
        });
        if let Some(timeline) = &self.timeline {
            summary["timeline"] = json!(timeline);
        }
        summary
    }

    pub(crate) fn as_text(&self) -> String {
        let record = &self.record;
        let seconds = self.elapsed.as_secs_f64();
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<10}{value}");
        };
        line("Gets", format!("{} in {seconds:.1} s, {:.0} per second", record.gets(), self.per_second()));
        line("asked by", format!("{} callers, {} nodes connected", self.callers, self.nodes));
        line("answers", format!("{} values, {} no such key", record.found, record.not_found));
        let sources: Vec<_> = record.sources.iter().map(|(name, count)| format!("{name} {count}")).collect();
        line("sources", sources.join(", "));
        let ms = |us: u64| us as f64 / 1_000.0;
        let (p50, p99) = (record.latencies.value_at_quantile(0.5), record.latencies.value_at_quantile(0.99));
        let max = record.latencies.max();
        line("latency", format!("p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms", ms(p50), ms(p99), ms(max)));
        let Attempts { sent, failed, retries } = self.attempts;
        line("attempts", format!("{sent} sent, {failed} failed, {retries} were retries"));
        line("failed", format!("{} Gets", record.errors()));
        for (kind, count) in &record.errors {
            let example = record.examples.get(kind).map_or("", String::as_str);
            line("", format!("{count} {kind}: {example}"));
        }
        for second in self.timeline.iter().flatten() {
            line("", second.as_line(self.nodes));
        }
        text
    }
}
