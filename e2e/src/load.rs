//! Gets under load, sent by `groupcachectl load` from a pod or from a process, and its account of them.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::machines::Machines;
use crate::scenario::grouped;
use crate::settings;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

/// A pod starts within seconds; the image is on the node.
const START: Duration = Duration::from_secs(60);
/// Every Get ends by its deadline of 5 s, and a thousand of them are told apart quickly.
const END: Duration = Duration::from_secs(120);

/// Arguments of the load under which most scenarios happen: 32 callers that ask for popular and rare keys until they are told
/// to stop.
pub const CALLERS: [&str; 7] =
    ["--group", "unicode", "--keys-from", "unicode", "--callers", "32", "--until-signal"];

/// What `groupcachectl load` counted.
#[derive(Clone, Debug)]
pub struct Report(Value);

impl Report {
    /// Gets that were sent.
    #[must_use]
    pub fn gets(&self) -> u64 {
        self.number("/gets")
    }

    /// Gets that failed for the caller, with the documented client configuration: one retry at another node.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.number("/errors")
    }

    /// Single attempts that failed, before any retry.
    #[must_use]
    pub fn failed_attempts(&self) -> u64 {
        self.number("/raw_failed")
    }

    /// Gets that were answered with a value.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.number("/found")
    }

    /// Gets in a second, on average.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.0["gets_per_second"].as_f64().unwrap_or_default()
    }

    /// The slowest of 100 Gets.
    #[must_use]
    pub fn p99(&self) -> Duration {
        Duration::from_micros(self.number("/latency_us/p99"))
    }

    /// The errors by kind with an example of each, for a message.
    #[must_use]
    pub fn errors_told(&self) -> String {
        format!("{} {}", self.0["errors_by_kind"], self.0["error_examples"])
    }

    /// Gets, failed Gets and failed attempts in words.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        write!(text, "{} Gets, {} failed", grouped(self.gets()), self.errors()).ok();
        if self.failed_attempts() > 0 {
            write!(text, " ({} single attempts failed)", self.failed_attempts()).ok();
        }
        text
    }

    /// Refuses a load in which a Get failed.
    ///
    /// # Errors
    /// With the errors by kind.
    pub fn demand_no_errors(&self, when: &str) -> Result<()> {
        if self.errors() > 0 {
            bail!("{when}: {} of {} Gets failed: {}", self.errors(), self.gets(), self.errors_told());
        }
        Ok(())
    }

    /// Gets that failed after this second of the load.
    #[must_use]
    pub fn errors_after(&self, second: u64) -> u64 {
        let timeline = self.0["timeline"].as_array().into_iter().flatten();
        let later = timeline.filter(|one| one["second"].as_u64().is_some_and(|at| at > second));
        later.filter_map(|one| one["errors"].as_u64()).sum()
    }

    fn number(&self, pointer: &str) -> u64 {
        self.0.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }
}

/// A load that runs in a pod, so that it takes the way of every application: the name of the headless Service.
#[derive(Debug)]
pub struct PodLoad<'a> {
    kubectl: &'a Kubectl,
    pod: String,
    /// Follows the pod's output: it would be gone with the pod.
    output: Spawned,
}

impl<'a> PodLoad<'a> {
    /// Starts `groupcachectl --address <address> load <arguments>` in a pod of this name.
    ///
    /// # Errors
    /// When the pod does not start.
    pub fn start(kubectl: &'a Kubectl, pod: &str, address: &str, arguments: &[&str]) -> Result<Self> {
        Self::start_on(kubectl, pod, "", address, arguments)
    }

    /// The same on a machine of that name; an empty one: on any.
    ///
    /// # Errors
    /// When the pod does not start.
    pub fn start_on(
        kubectl: &'a Kubectl,
        pod: &str,
        machine: &str,
        address: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        kubectl.apply(&manifest(pod, machine, &settings::text("CTL_IMAGE")?, address, arguments))?;
        kubectl.wait(
            ("pod", pod),
            "started",
            START,
            |pod| pod["status"]["phase"] != "Pending",
            |pod| pod["status"].to_string(),
        )?;
        let name = format!("{}-{pod}", kubectl.namespace());
        let output = Spawned::start(&name, &mut kubectl.command(&["logs", "--follow", pod]))?;
        Ok(Self { kubectl, pod: pod.to_owned(), output })
    }

    /// How many seconds the load has lasted, by its own account.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        seconds(&self.output.said())
    }

    /// Ends a load that runs until it is told to stop.
    ///
    /// # Errors
    /// When it left no account.
    pub fn stop(mut self) -> Result<Report> {
        self.kubectl.run(&["delete", "pod", &self.pod, "--wait=true", "--timeout=60s"])?;
        self.report()
    }

    /// Waits for a load that ends by itself.
    ///
    /// # Errors
    /// When it does not end, or left no account.
    pub fn finish(mut self) -> Result<Report> {
        self.report()
    }

    fn report(&mut self) -> Result<Report> {
        self.output.wait(END)?;
        report(&self.output.said())
    }
}

/// Starts `groupcachectl --address <address> load <arguments>` as a process.
///
/// # Errors
/// When it cannot be started.
pub fn start_process(name: &str, address: &str, arguments: &[&str]) -> Result<Spawned> {
    let mut command = Command::new(settings::path("GROUPCACHECTL")?);
    command.args(["--address", address, "--output", "json", "load", "--quiet"]).args(arguments);
    Spawned::start(name, &mut command)
}

/// The same as a process inside the cluster's network, from where it reaches the nodes without any machine between.
///
/// # Errors
/// When it cannot be started.
pub fn start_inside(machines: &Machines, name: &str, address: &str, arguments: &[&str]) -> Result<Spawned> {
    let mut command = machines.inside(settings::path("GROUPCACHECTL")?);
    command.args(["--address", address, "--output", "json", "load", "--quiet"]).args(arguments);
    Spawned::start(name, &mut command)
}

/// Waits for a load that was started as a process.
///
/// # Errors
/// When it does not end, or left no account.
pub fn finish_process(load: Spawned) -> Result<Report> {
    finish_within(load, END)
}

/// The same where it may take longer than most.
///
/// # Errors
/// When it does not end, or left no account.
pub fn finish_within(mut load: Spawned, limit: Duration) -> Result<Report> {
    load.wait(limit)?;
    report(&load.said())
}

/// Ends a load that was started as a process and runs until it is told to stop.
///
/// # Errors
/// When it has ended already, or left no account.
pub fn stop_process(mut load: Spawned) -> Result<Report> {
    load.signal("TERM")?;
    finish_process(load)
}

/// Waits until Gets are being answered: what follows happens under load.
///
/// # Errors
/// When nothing is answered; `answered` tells how many Gets were, by whatever measure.
pub fn wait_running(answered: impl Fn() -> Result<u64>) -> Result<()> {
    /// Beyond the first connections.
    const ENOUGH: u64 = 100;
    let before = answered()?;
    wait::until("answers to the load", START, || {
        let now = answered()?;
        Ok(if now >= before + ENOUGH { Seen::Reached(()) } else { Seen::NotYet(format!("{}", now - before)) })
    })
}

/// The account is the last line that is JSON; what a program warned of stands before it.
fn report(said: &str) -> Result<Report> {
    let account = said.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    account
        .filter(|account| account["gets"].is_u64())
        .map(Report)
        .with_context(|| format!("no account of the load in: {said}"))
}

/// From `  12 s     340 Gets ...`, one line for each second.
fn seconds(said: &str) -> u64 {
    let told = said.lines().rev().find_map(|line| line.split_once(" s  ")?.0.trim().parse().ok());
    told.unwrap_or_default()
}

fn manifest(pod: &str, machine: &str, image: &str, address: &str, arguments: &[&str]) -> String {
    let all = [&["--address", address, "--output", "json", "load"], arguments].concat();
    let list: Vec<String> = all.iter().map(|argument| format!("{argument:?}")).collect();
    format!(
        r"apiVersion: v1
kind: Pod
metadata: {{name: {pod}, labels: {{app: load}}}}
spec:
  restartPolicy: Never
  nodeName: {machine:?}
  terminationGracePeriodSeconds: 15
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
    - name: load
      image: {image}
      imagePullPolicy: IfNotPresent
      args: [{}]
      securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
",
        list.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_found_behind_warnings() {
        let said =
            "warning: slow\n{\"gets\":1000,\"errors\":2,\"raw_failed\":3,\"latency_us\":{\"p99\":12000}}\n";

        let report = report(said).unwrap();

        assert_eq!((report.gets(), report.errors(), report.p99()), (1000, 2, Duration::from_millis(12)));
        assert_eq!(report.told(), "1,000 Gets, 2 failed (3 single attempts failed)");
        assert!(report.demand_no_errors("now").is_err());
    }

    #[test]
    fn what_failed_late_is_told_apart() {
        let said = "   1 s  5 Gets  2 failed\n   2 s  5 Gets  1 failed\n{\"gets\":10,\"timeline\":[\
            {\"second\":1,\"errors\":2},{\"second\":2,\"errors\":1}]}\n";

        assert_eq!(seconds(said), 2);
        let report = report(said).unwrap();

        assert_eq!((report.errors_after(0), report.errors_after(1), report.errors_after(2)), (3, 1, 0));
    }

    #[test]
    fn no_account_is_an_error_that_quotes_what_was_said() {
        assert!(report("cannot reach").unwrap_err().to_string().contains("cannot reach"));
    }
}
