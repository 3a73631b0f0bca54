//! What the process costs: memory, processor time, threads and open files, read from `/proc` at each scrape.
//!
//! The names are those every Prometheus client uses. Where `/proc` is missing, nothing is reported.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Ticks a second of the times in `/proc`: part of Linux' interface to programs, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reports the process's own cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessMetrics;

/// One reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    resident_bytes: u64,
    virtual_bytes: u64,
    threads: u64,
    cpu_seconds: f64,
    started_seconds: f64,
    open_files: u64,
    max_files: u64,
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Some(now) = read() else { return Ok(()) };
        let cpu = ConstCounter::new(now.cpu_seconds);
        let help = "Processor time spent, user and system";
        cpu.encode(to.encode_descriptor("process_cpu", help, Some(&Unit::Seconds), cpu.metric_type())?)?;
        let start = ConstGauge::new(now.started_seconds);
        let help = "When the process started, in seconds since 1970";
        let unit = Some(&Unit::Seconds);
        start.encode(to.encode_descriptor("process_start_time", help, unit, start.metric_type())?)?;
        for (name, help, unit, value) in [
            ("process_resident_memory", "Memory in use", Some(&Unit::Bytes), now.resident_bytes),
            ("process_virtual_memory", "Memory reserved", Some(&Unit::Bytes), now.virtual_bytes),
            ("process_threads", "Threads of the process", None, now.threads),
            ("process_open_fds", "Open file descriptors", None, now.open_files),
            ("process_max_fds", "File descriptors the process may open", None, now.max_files),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(to.encode_descriptor(name, help, unit, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn read() -> Option<Reading> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    // Field 3 follows the command's name, which stands in brackets and may hold anything.
    let fields: Vec<f64> =
        stat.rsplit_once(')')?.1.split_whitespace().map(|field| field.parse().unwrap_or(0.0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let booted: f64 = number(&system, "btime ");
    Some(Reading {
        resident_bytes: number::<u64>(&status, "VmRSS:") * 1024,
        virtual_bytes: number::<u64>(&status, "VmSize:") * 1024,
        threads: number(&status, "Threads:"),
        cpu_seconds: (field(14) + field(15)) / TICKS_PER_SECOND,
        started_seconds: booted + field(22) / TICKS_PER_SECOND,
        open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64),
        max_files: number(&limits, "Max open files"),
    })
}

/// The first number after `label` at the start of a line; 0 if there is none.
fn number<T: std::str::FromStr + Default>(text: &str, label: &str) -> T {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::build_info;

    /// Turned red by: a metric that the page does not have, or has under another kind or meaning.
    #[test]
    fn the_reference_names_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/metrics.md");
        let reference = std::fs::read_to_string(path).expect("docs/operations/metrics.md");
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics));
        build_info::register(&mut registry, "node", "0");
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("text");
        let kinds: Vec<Vec<&str>> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|line| line.split(' ').collect())
            .collect();
        assert!(!kinds.is_empty(), "{text}");
        for kind in kinds {
            let (ending, kind_of_it) = match kind[1] {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                other => ("", other),
            };
            let row = format!("| `{}{ending}` | {kind_of_it} |", kind[0]);
            assert!(reference.contains(&row), "docs/operations/metrics.md lacks the row {row}");
        }
    }

    #[test]
    fn a_living_process_has_memory_threads_and_files() {
        let Some(now) = read() else { return };
        assert!(now.resident_bytes > 64 * 1024, "{now:?}");
        assert!(now.virtual_bytes >= now.resident_bytes, "{now:?}");
        assert!(now.threads >= 1 && now.open_files >= 3 && now.max_files >= now.open_files, "{now:?}");
        // Between 2020 and 2100.
        assert!((1.577e9..4.1e9).contains(&now.started_seconds), "{now:?}");
    }
}
