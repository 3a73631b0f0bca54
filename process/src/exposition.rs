//! Metrics as text: what the registry knows, in the format the scraper asks for.
//!
//! The registry writes `OpenMetrics`, where a counter's family is named without `_total` and units stand in lines of their own.
//! Prometheus' older text format wants the family named as its samples are; scrapers that do not ask for `OpenMetrics` get that.

use std::fmt::Write;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// Content type of `OpenMetrics`.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Content type of Prometheus' text format.
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything in the registry, as `OpenMetrics`.
///
/// # Errors
/// If a collector fails to write.
pub fn openmetrics(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    encode(&mut text, registry)?;
    Ok(text)
}

/// Everything in the registry, in Prometheus' text format.
///
/// # Errors
/// If a collector fails to write.
pub fn prometheus(registry: &Registry) -> Result<String, std::fmt::Error> {
    let text = openmetrics(registry)?;
    let mut converted = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            // Written with the type below, which decides the family's name.
            help = line;
        } else if let Some(family) = line.strip_prefix("# TYPE ") {
            write_header(&mut converted, help, family)?;
        } else if !line.starts_with("# UNIT ") && line != "# EOF" {
            writeln!(converted, "{line}")?;
        }
    }
    Ok(converted)
}

fn write_header(out: &mut String, help: &str, family: &str) -> std::fmt::Result {
    let (name, kind) = family.split_once(' ').unwrap_or((family, "untyped"));
    let (suffix, kind) = match kind {
        "counter" => ("_total", "counter"),
        "info" => ("_info", "gauge"),
        "unknown" => ("", "untyped"),
        other => ("", other),
    };
    let help =
        help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).map_or("", |(_, text)| text);
    writeln!(out, "# HELP {name}{suffix} {help}")?;
    writeln!(out, "# TYPE {name}{suffix} {kind}")
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Unit;

    use super::*;
    use crate::build_info;

    #[test]
    fn families_are_named_as_their_samples_are() {
        let mut registry = Registry::default();
        let gets: Counter = Counter::default();
        gets.inc_by(3);
        registry.register("groupcache_gets", "Gets", gets);
        registry.register_with_unit("groupcache_memory", "Bytes", Unit::Bytes, Gauge::<i64>::default());
        build_info::register(&mut registry, "node", "1.2.3");
        let text = prometheus(&registry).expect("it encodes");
        let expected = "\
# HELP groupcache_gets_total Gets.
# TYPE groupcache_gets_total counter
groupcache_gets_total 3
# HELP groupcache_memory_bytes Bytes.
# TYPE groupcache_memory_bytes gauge
groupcache_memory_bytes 0
# HELP groupcache_build_info The component and the release that runs here.
# TYPE groupcache_build_info gauge
groupcache_build_info{component=\"node\",version=\"1.2.3\"} 1
";
        assert_eq!(text, expected);
        assert!(openmetrics(&registry).expect("it encodes").ends_with("# EOF\n"));
    }
}
