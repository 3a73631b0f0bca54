//! What the demo measured, as a table, and whether it is what was promised.

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The figures of one demo.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) herd: Report,
    pub(crate) zipf: Report,
    /// Loads of the cold key, counted by the loader.
    pub(crate) cold_loads: u64,
    /// All loads of the demo, counted by the loader.
    pub(crate) loads: u64,
}

/// What `groupcachectl load --output json` printed.
#[derive(Debug)]
pub(crate) struct Report(Value);

impl Report {
    /// Finds the report in a pod's log: the last line that is JSON.
    ///
    /// # Errors
    /// When there is none; the text quotes the log.
    pub(crate) fn of(log: &str) -> Result<Self> {
        let report = log.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let report = report.filter(|report| report["gets"].is_u64());
        report.map(Self).with_context(|| format!("groupcachectl left no report: {log}"))
    }

    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }

    fn milliseconds(&self, quantile: &str) -> f64 {
        self.number(&format!("/latency_us/{quantile}")) as f64 / 1000.0
    }

    fn errors_told(&self) -> String {
        format!("{} Gets failed: {}", self.number("/errors"), self.0["error_examples"])
    }
}

impl Account {
    /// The figures for people.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line =
            |name: &str, value: String| writeln!(text, "  {name:<24}{value:>12}").unwrap_or_default();
        let zipf = |pointer: &str| self.zipf.number(pointer);
        line("Gets of one cold key", grouped(self.herd.number("/gets")));
        line("  errors", grouped(self.herd.number("/errors")));
        line("  loads of that key", grouped(self.cold_loads));
        line("  p50", format!("{:.1} ms", self.herd.milliseconds("p50")));
        line("  p99", format!("{:.1} ms", self.herd.milliseconds("p99")));
        line("Gets, Zipf over 10,000", grouped(zipf("/gets")));
        line("  per second", grouped(self.zipf.0["gets_per_second"].as_f64().unwrap_or_default() as u64));
        line("  errors", grouped(zipf("/errors")));
        line("  hits", grouped(zipf("/sources/main") + zipf("/sources/hot")));
        line("  peer fetches", grouped(zipf("/sources/peer")));
        // The loader counts, and it knows neither which Get was behind a load nor in which of the two tests.
        let loads = grouped(self.loads);
        line("  loads, all in all", format!("{loads:>12}  those behind peer fetches too, and the herd's"));
        line("  p50", format!("{:.2} ms", self.zipf.milliseconds("p50")));
        line("  p99", format!("{:.2} ms", self.zipf.milliseconds("p99")));
        text
    }

    /// The figures for programs: two reports of `groupcachectl load`, and what the loader counted.
    pub(crate) fn json(&self) -> Value {
        json!({
            "cold_key": {"report": self.herd.0, "loads": self.cold_loads},
            "zipf": {"report": self.zipf.0},
            "loads": self.loads,
            "promises_kept": self.verdict().is_ok(),
        })
    }

    /// Refuses figures that break a promise.
    ///
    /// # Errors
    /// Names the promise and the figure.
    pub(crate) fn verdict(&self) -> Result<()> {
        if self.cold_loads != 1 {
            bail!("the cold key was loaded {} times, and exactly one load is promised", self.cold_loads);
        }
        for report in [&self.herd, &self.zipf] {
            if report.number("/errors") > 0 {
                bail!("{}", report.errors_told());
            }
        }
        Ok(())
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(errors: u64, cold_loads: u64) -> Account {
        let report = |errors: u64| {
            let json = format!(
                r#"{{"gets":1000,"errors":{errors},"error_examples":{{}},"sources":{{"main":600,"hot":100,"peer":300}},"latency_us":{{"p50":800,"p99":12000}}}}"#
            );
            Report::of(&format!("a warning\n{json}\n")).unwrap()
        };
        Account { herd: report(errors), zipf: report(0), cold_loads, loads: 1300 }
    }

    #[test]
    fn the_table_tells_every_figure() {
        let table = account(0, 1).table();

        for figure in ["1,000", "700", "300", "1,300", "12.0 ms", "0.80 ms"] {
            assert!(table.contains(figure), "{figure} is not in\n{table}");
        }
    }

    #[test]
    fn programs_get_the_figures_and_the_verdict() {
        let (kept, broken) = (account(0, 1).json(), account(0, 2).json());

        assert_eq!(
            (&kept["cold_key"]["report"]["gets"], &kept["cold_key"]["loads"]),
            (&json!(1000), &json!(1))
        );
        assert_eq!((&kept["promises_kept"], &broken["promises_kept"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn a_second_load_of_the_cold_key_or_a_failed_get_is_a_failure() {
        account(0, 1).verdict().unwrap();
        assert!(account(0, 2).verdict().is_err());
        assert!(account(0, 0).verdict().is_err());
        assert!(account(1, 1).verdict().is_err());
    }
}
