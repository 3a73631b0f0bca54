//! What a round came to: a table for people, JSON for programs, and whether it is what was promised.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::Serialize;

use crate::arguments::Arguments;
use crate::audit::{self, Request};
use crate::operator::Cost;

/// The most memory that the operator may ever hold.
const PROMISED_BYTES: u64 = 256 << 20;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// One part of a round, as it was timed.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    pub(crate) what: &'static str,
    /// The one cluster it is about; `None`: all of them.
    pub(crate) about: Option<String>,
    pub(crate) began: Timestamp,
    /// A little after the state was reached.
    pub(crate) ended: Timestamp,
    /// Until the state was reached.
    pub(crate) took: Duration,
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
}

/// One part of a round, with what was asked of the API server in it; the Lease is left out.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Part {
    what: &'static str,
    seconds: f64,
    cpu_seconds: f64,
    resident_mib: f64,
    reads: usize,
    writes: usize,
    requests: BTreeMap<String, usize>,
}

/// The figures of a round.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figures {
    clusters: usize,
    members: usize,
    light: bool,
    parts: Vec<Part>,
    peak_mib: f64,
    /// Of this process, for each of the nodes in it.
    node_mib: f64,
    promises_kept: bool,
    #[serde(skip)]
    peak_bytes: u64,
}

impl Figures {
    pub(crate) fn new(
        arguments: &Arguments,
        cost: Cost,
        nodes_bytes: u64,
        nodes: usize,
        phases: &[Phase],
        requests: &[Request],
    ) -> Self {
        let parts = phases.iter().map(|phase| Part::new(phase, requests)).collect();
        let mut figures = Self {
            clusters: arguments.clusters,
            members: arguments.members,
            light: arguments.light,
            parts,
            peak_mib: cost.peak_bytes as f64 / MEBIBYTE,
            node_mib: nodes_bytes as f64 / MEBIBYTE / nodes.max(1) as f64,
            promises_kept: true,
            peak_bytes: cost.peak_bytes,
        };
        figures.promises_kept = figures.verdict().is_ok();
        figures
    }

    /// The figures for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "{} clusters of {} {}nodes: the operator held {:.0} MiB at most; a node in this process {:.1} MiB\n",
            self.clusters,
            self.members,
            if self.light { "light " } else { "" },
            self.peak_mib,
            self.node_mib
        );
        let heads = ["", "seconds", "CPU s", "RSS MiB", "reads", "writes"];
        let mut line = |columns: [String; 6]| {
            let [what, rest @ ..] = columns;
            let rest: String = rest.iter().map(|column| format!("{column:>10}")).collect();
            // Writing to a string cannot fail.
            writeln!(text, "  {what:<16}{rest}").unwrap_or_default();
        };
        line(heads.map(str::to_owned));
        for part in &self.parts {
            line([
                part.what.to_owned(),
                format!("{:.1}", part.seconds),
                format!("{:.2}", part.cpu_seconds),
                format!("{:.0}", part.resident_mib),
                part.reads.to_string(),
                part.writes.to_string(),
            ]);
        }
        text
    }

    /// Refuses figures that break a promise.
    ///
    /// # Errors
    /// Names the promise and the figure.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.peak_bytes > PROMISED_BYTES {
            let promised = PROMISED_BYTES as f64 / MEBIBYTE;
            bail!("the operator held {:.0} MiB, more than {promised:.0} MiB", self.peak_mib);
        }
        let idle = self.parts.iter().find(|part| part.what == "idle");
        if let Some(idle) = idle.filter(|idle| idle.writes > 0) {
            bail!("the operator wrote while nothing happened: {:?}", idle.requests);
        }
        Ok(())
    }
}

impl Part {
    fn new(phase: &Phase, requests: &[Request]) -> Self {
        let is_in = |request: &&Request| {
            let about = phase.about.as_ref().is_none_or(|name| request.uri.contains(name));
            about && !request.is_of_lease() && (phase.began..phase.ended).contains(&request.at)
        };
        let asked: Vec<&Request> = requests.iter().filter(is_in).collect();
        let reads = asked.iter().filter(|request| request.is_read()).count();
        Part {
            what: phase.what,
            seconds: phase.took.as_secs_f64(),
            cpu_seconds: phase.cpu.as_secs_f64(),
            resident_mib: phase.resident_bytes as f64 / MEBIBYTE,
            reads,
            writes: asked.len() - reads,
            requests: audit::by_kind(asked.into_iter()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(requests: &[(&str, &str, &str)], peak_bytes: u64) -> Figures {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let phase = Phase {
            what: "idle",
            about: None,
            began: at("2026-01-01T00:00:00Z"),
            ended: at("2026-01-01T00:05:00Z"),
            took: Duration::from_secs(300),
            cpu: Duration::ZERO,
            resident_bytes: 0,
        };
        let request = |(verb, resource, minute): &(&str, &str, &str)| Request {
            at: at(&format!("2026-01-01T00:{minute}:00Z")),
            verb: (*verb).to_owned(),
            resource: (*resource).to_owned(),
            uri: "/x".to_owned(),
        };
        let requests: Vec<Request> = requests.iter().map(request).collect();
        let arguments = Arguments { clusters: 1, members: 1, ..Arguments::nothing() };
        Figures::new(&arguments, Cost { peak_bytes, ..Cost::default() }, 0, 0, &[phase], &requests)
    }

    #[test]
    fn a_write_while_idle_breaks_the_promise_and_the_lease_does_not() {
        let lease = ("update", "leases", "01");
        assert!(figures(&[lease, ("get", "pods", "02")], 0).verdict().is_ok());
        assert!(figures(&[lease, ("patch", "pods", "06")], 0).verdict().is_ok(), "that was later");
        assert!(figures(&[lease, ("patch", "cacheclusters/status", "02")], 0).verdict().is_err());
    }

    #[test]
    fn too_much_memory_breaks_the_promise() {
        assert!(figures(&[], 256 << 20).verdict().is_ok());
        assert!(figures(&[], (256 << 20) + 1).verdict().is_err());
    }

    #[test]
    fn the_table_tells_reads_and_writes_apart() {
        let table =
            figures(&[("list", "pods", "01"), ("get", "secrets", "01"), ("create", "events", "01")], 0);
        assert!(table.table().contains("         2         1\n"), "{}", table.table());
    }
}
