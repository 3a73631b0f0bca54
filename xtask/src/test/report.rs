//! What the tiers came to: a table of minutes, and the failures in words.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Error;

/// One tier of a run.
pub(crate) struct Row {
    pub(crate) tier: &'static str,
    pub(crate) took: Duration,
    pub(crate) outcome: Outcome,
}

/// How a tier ended.
pub(crate) enum Outcome {
    Passed,
    Failed(Error),
    /// A tier that did not run is a failure of the run: nobody may think that it passed.
    DidNotRun,
}

impl Outcome {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed(_) => "FAILED",
            Self::DidNotRun => "did not run",
        }
    }
}

/// The table for the end of a run.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::from("\ntier         minutes  result\n");
    let mut line = |name: &str, took: Duration, word: &str| {
        // Writing to a string cannot fail.
        writeln!(text, "{name:<12} {:>7.1}  {word}", took.as_secs_f64() / 60.0).ok();
    };
    for row in rows {
        line(row.tier, row.took, row.outcome.word());
    }
    line(
        "all",
        rows.iter().map(|row| row.took).sum(),
        if failures(rows).is_none() { "passed" } else { "FAILED" },
    );
    text
}

/// Every tier that failed or did not run; `None` if all passed.
pub(crate) fn failures(rows: &[Row]) -> Option<String> {
    let lines: Vec<String> = rows
        .iter()
        .filter_map(|row| match &row.outcome {
            Outcome::Passed => None,
            Outcome::Failed(error) => {
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                Some(causes.join(": "))
            }
            Outcome::DidNotRun => Some(format!("tier {} did not run", row.tier)),
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn row(tier: &'static str, outcome: Outcome) -> Row {
        Row { tier, took: Duration::from_secs(90), outcome }
    }

    #[test]
    fn a_tier_that_did_not_run_is_a_failure() {
        let text = failures(&[row("unit", Outcome::Passed), row("docs", Outcome::DidNotRun)]);

        assert_eq!(text.as_deref(), Some("tier docs did not run"));
    }

    #[test]
    fn the_table_tells_minutes_and_results() {
        let rows =
            [row("unit", Outcome::Passed), row("docs", Outcome::Failed(anyhow!("red").context("tier docs")))];

        assert_eq!(
            table(&rows),
            "\ntier         minutes  result\n\
             unit             1.5  passed\n\
             docs             1.5  FAILED\n\
             all              3.0  FAILED\n"
        );
        assert_eq!(failures(&rows).as_deref(), Some("tier docs: red"));
    }
}
