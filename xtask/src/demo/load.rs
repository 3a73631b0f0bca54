//! Sends Gets from inside the cluster, by the Jobs of `examples/quickstart`, and asks the loader what it saw.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::demo::account::Report;
use crate::demo::target::Target;
use crate::images::build::Images;

/// A Job takes ten seconds, and a loaded machine longer.
const LIMIT: Duration = Duration::from_secs(120);
/// Between two looks at a Job.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// One Job that sends Gets.
pub(crate) struct Load<'a> {
    target: &'a Target,
    /// Of the Job, and of its file in `examples/quickstart`.
    name: &'static str,
}

impl<'a> Load<'a> {
    pub(crate) fn new(target: &'a Target, name: &'static str) -> Self {
        Self { target, name }
    }

    /// Runs the Job anew and reads its report, also when Gets failed.
    ///
    /// # Errors
    /// When the Job does not end or leaves no report.
    pub(crate) fn run(&self, images: &Images) -> Result<Report> {
        let job = format!("job/{}", self.name);
        self.target.kubectl(&["delete", &job, "--ignore-not-found", "--wait=true"])?;
        self.target.apply(&format!("{}.yaml", self.name), images)?;
        let began = Instant::now();
        loop {
            let status = self.target.kubectl(&["get", &job, "--output", "jsonpath={.status}"])?;
            let seen: Value = serde_json::from_str(&status).unwrap_or_default();
            if ["succeeded", "failed"].iter().any(|end| seen[end].as_u64() >= Some(1)) {
                break;
            }
            if began.elapsed() >= LIMIT {
                let pods = self.target.kubectl(&[
                    "describe",
                    "pods",
                    "--selector",
                    &format!("job-name={}", self.name),
                ]);
                bail!(
                    "{job} did not end within {} s: {status}\n{}",
                    LIMIT.as_secs(),
                    pods.unwrap_or_default()
                );
            }
            thread::sleep(BETWEEN_LOOKS);
        }
        Report::of(&self.target.kubectl(&["logs", &job])?)
    }
}

/// The quickstart's loader, which counts what it is asked.
pub(crate) struct Loader<'a> {
    target: &'a Target,
}

impl<'a> Loader<'a> {
    pub(crate) fn of(target: &'a Target) -> Self {
        Self { target }
    }

    /// How often it was asked.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn loads(&self) -> Result<u64> {
        self.ask("/loads")
    }

    /// How often it was asked for one key.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn loads_of(&self, key: &str) -> Result<u64> {
        self.ask(&format!("/loads?key={key}"))
    }

    fn ask(&self, path: &str) -> Result<u64> {
        let answer = self.target.proxy("get", "unicode-loader:9090", path)?;
        let answer: Value = serde_json::from_str(&answer).context("the loader answers JSON")?;
        answer["loads"].as_u64().context("the loader answers a number of loads")
    }
}
