//! The table of the node's own metrics: name, kind, labels, help; the source of the reference and of what is exported.

use prometheus_client::registry::Unit;

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name as Prometheus sees it, unit and `_total` included.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub help: &'static str,
}

/// What kind of number a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

impl Metric {
    /// The unit at the end of its name.
    #[must_use]
    pub fn unit(&self) -> Option<Unit> {
        let name = self.name.trim_end_matches("_total");
        match name.rsplit('_').next() {
            Some("seconds") => Some(Unit::Seconds),
            Some("bytes") => Some(Unit::Bytes),
            _ => None,
        }
    }

    /// Its name without unit and `_total`, which the encoder adds.
    #[must_use]
    pub fn stem(&self) -> &'static str {
        let name = self.name.trim_end_matches("_total");
        name.trim_end_matches("_seconds").trim_end_matches("_bytes")
    }
}

/// The table as text, for `--list-metrics`.
#[must_use]
pub fn list() -> String {
    let mut text = String::new();
    for row in METRICS {
        let labels =
            if row.labels.is_empty() { String::new() } else { format!("{{{}}}", row.labels.join(",")) };
        let kind = match row.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let unit = row.unit().map_or(String::new(), |unit| format!(" in {}", unit.as_str()));
        text.push_str(&format!("{}{labels}\n    {kind}{unit}: {}\n", row.name, row.help));
    }
    text
}

const GROUP: &[&str] = &["group"];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram, labels, help }
}

/// Every metric of the node itself; `process_*` and `groupcache_build_info` come on top.
pub const METRICS: &[Metric] = &[
    counter(
        "groupcache_gets_total",
        &["group", "result"],
        "Gets from applications and peers by how they ended: main, hot, stale, peer, load, joined, error, deadline, not_ready or abandoned",
    ),
    counter("groupcache_peer_gets_total", GROUP, "Gets from other nodes that take this one for the owner"),
    counter("groupcache_get_many_total", GROUP, "GetManys from applications; each of their keys is a Get"),
    counter("groupcache_not_found_total", GROUP, "Gets answered with no such key, wherever it was found"),
    counter("groupcache_fetch_failures_total", GROUP, "Fetches that the other node could not answer"),
    counter(
        "groupcache_second_owner_fetches_total",
        GROUP,
        "Fetches answered by the key's second owner because the first could not be asked",
    ),
    counter("groupcache_loads_total", GROUP, "Loads that answered, with a value or with no such key"),
    counter("groupcache_load_failures_total", GROUP, "Loads that failed"),
    counter("groupcache_load_many_total", GROUP, "Calls of the loader for several keys at once"),
    counter(
        "groupcache_load_many_keys_total",
        GROUP,
        "Keys that those calls asked for; each of them is a load",
    ),
    counter("groupcache_loads_shed_total", GROUP, "Loads refused because too many were in flight or queued"),
    counter(
        "groupcache_stale_on_error_total",
        GROUP,
        "Failed loads and fetches that ended with an expired value instead",
    ),
    counter("groupcache_refreshes_total", GROUP, "Refreshes started in the background"),
    counter("groupcache_refresh_failures_total", GROUP, "Refreshes that failed: the entry stayed as it was"),
    counter("groupcache_load_retries_total", GROUP, "Further tries of loads after one that failed"),
    counter(
        "groupcache_loads_refused_total",
        GROUP,
        "Loads that were not sent because the loader's circuit breaker was open",
    ),
    gauge("groupcache_load_breaker", GROUP, "The loader's circuit breaker: 0 closed, 1 half-open, 2 open"),
    gauge("groupcache_loads_in_flight", GROUP, "Loads in flight now"),
    histogram("groupcache_load_duration_seconds", &["group", "outcome"], "Time a load took at the loader"),
    histogram("groupcache_load_queue_wait_seconds", GROUP, "Time a load waited for a place"),
    counter(
        "groupcache_fenced_total",
        GROUP,
        "Results answered but not kept, because a purge came between, the source may lag, or something newer is known of",
    ),
    counter("groupcache_oversize_total", GROUP, "Values over the group's size limit: answered, not kept"),
    counter(
        "groupcache_no_room_total",
        GROUP,
        "Results answered but not kept, because they would take too much of the cache",
    ),
    counter(
        "groupcache_removes_total",
        &["group", "outcome"],
        "Removes and Flushes coordinated here: ok, or partial if a node did not acknowledge and could not be barred",
    ),
    counter(
        "groupcache_removes_barred_total",
        GROUP,
        "Removes, Sets and Flushes that hold although a node could not be reached: it was barred from serving copies",
    ),
    counter(
        "groupcache_sets_total",
        &["group", "outcome"],
        "Sets coordinated here: ok, or failed if a node did not acknowledge",
    ),
    counter("groupcache_flushes_total", GROUP, "Flushes that purged every key here, whoever coordinated"),
    counter(
        "groupcache_lapses_total",
        GROUP,
        "Times that every entry was dropped because this node held no grants any more",
    ),
    counter(
        "groupcache_passed_through_total",
        GROUP,
        "Gets that found this node without grants, so that nothing of it was kept",
    ),
    counter("groupcache_purged_keys_total", GROUP, "Keys purged here, whoever coordinated"),
    counter(
        "groupcache_window_overflows_total",
        GROUP,
        "Purges that opened a window for many keys at once, because too many windows were open",
    ),
    counter(
        "groupcache_peeks_total",
        GROUP,
        "Keys that this node had come to own and asked a former owner for before the loader",
    ),
    counter("groupcache_peek_hits_total", GROUP, "Peeks that found the key, and so saved a load"),
    counter(
        "groupcache_offered_total",
        GROUP,
        "Keys that other nodes offered this one after a change of the ring, because it owns them now",
    ),
    counter(
        "groupcache_taken_over_total",
        GROUP,
        "Entries that this node took over from other nodes after a change of the ring",
    ),
    counter("groupcache_evictions_total", GROUP, "Entries that left a cache to make room"),
    gauge("groupcache_cache_entries", &["group", "cache"], "Entries held"),
    gauge("groupcache_cache_bytes", &["group", "cache"], "Bytes held: keys, values and overhead"),
    gauge("groupcache_cache_budget_bytes", GROUP, "Bytes the group may hold at this node"),
    gauge("groupcache_flights", GROUP, "Loads and fetches that Gets wait for"),
    gauge("groupcache_in_flight_bytes", &[], "Bytes reserved for answers of loaders that are being read"),
    gauge("groupcache_outgoing_bytes", &[], "Bytes of large answers to clients that are not sent yet"),
    gauge("groupcache_incoming_bytes", &[], "Bytes of large requests of clients that are not answered yet"),
    gauge("groupcache_serving_copies", &[], "1 while this node has grants to serve what it keeps, else 0"),
    gauge("groupcache_barred_nodes", &[], "Nodes that this one, as a grantor, bars from serving copies"),
    counter(
        "groupcache_peer_requests_total",
        &["call", "code"],
        "Calls to other nodes by how they ended: ok, unreachable, refused or deadline",
    ),
    counter(
        "groupcache_peer_breakers_opened_total",
        &[],
        "Times that a node was not asked for a while, because it had shown no sign of life",
    ),
    gauge("groupcache_peer_breakers_open", &[], "Nodes that fetches do not go to now, for the same reason"),
    counter(
        "groupcache_snapshots_total",
        &["outcome"],
        "Snapshots offered to this node: adopted, unchanged, older or refused",
    ),
    gauge("groupcache_view_epoch", &[], "Epoch of the membership in force; 0: none"),
    gauge("groupcache_view_sequence", &[], "Sequence of the membership in force"),
    gauge("groupcache_members", &["state"], "Members in the membership in force"),
    gauge(
        "groupcache_ring_hash",
        &[],
        "Hash of who owns keys, cut to 52 bits: nodes that differ disagree on owners",
    ),
    gauge("groupcache_ready", &[], "1 if applications should send Gets here, else 0"),
    gauge("groupcache_draining", &[], "1 once the node has begun to drain"),
    gauge(
        "groupcache_certificate_expiry_timestamp_seconds",
        &[],
        "When the cluster port's certificate runs out, in seconds since 1970; absent where the port is open",
    ),
    gauge(
        "groupcache_data_certificate_expiry_timestamp_seconds",
        &[],
        "When the data port's certificate runs out, in seconds since 1970; absent where it speaks no TLS",
    ),
    counter(
        "groupcache_access_refused_total",
        &["reason"],
        "Calls of the data port refused for their token: missing, malformed, unknown, not_allowed, or not_ready while this node has no rules yet",
    ),
    counter("groupcache_connections_total", &["port"], "Connections taken on a port"),
    counter(
        "groupcache_connections_refused_total",
        &["port"],
        "Connections closed at once: over the cap, silent, or without the TLS or the certificate that is asked for",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_prometheus_expects() {
        for row in METRICS {
            assert_eq!(row.kind == Kind::Counter, row.name.ends_with("_total"), "{}", row.name);
            assert!(row.name.starts_with("groupcache_"), "{}", row.name);
            assert_eq!(METRICS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
        assert!(
            list()
                .contains("groupcache_load_duration_seconds{group,outcome}\n    histogram in seconds: Time")
        );
    }

    #[test]
    fn the_reference_says_the_same() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations/metrics.md");
        let reference = std::fs::read_to_string(path).expect("docs/operations/metrics.md");
        // What follows is the operator's, or both have it.
        let nodes = reference.split("\n## Operator").next().unwrap_or_default();
        let told: Vec<&str> = nodes.lines().filter(|line| line.starts_with("| `groupcache_")).collect();
        let rows: Vec<String> = METRICS.iter().map(row).collect();
        assert!(
            told == rows,
            "the table of nodes in docs/operations/metrics.md should be:\n{}",
            rows.join("\n")
        );
    }

    fn row(metric: &Metric) -> String {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        format!("| `{}` | {kind} | {} | {} |", metric.name, metric.labels.join(", "), metric.help)
    }
}
