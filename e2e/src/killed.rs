//! A program of the local cluster that is killed and started again; `cargo xtask cluster` knows how it was started.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::program;
use crate::settings;
use crate::wait::{self, Seen};

const LIMIT: Duration = Duration::from_secs(10);

/// Started again when this is dropped, also when the scenario fails: others need it.
#[derive(Debug)]
pub struct Killed {
    name: String,
    is_back: bool,
}

impl Killed {
    /// Kills the kubelet of a machine, and waits until there is none.
    ///
    /// # Errors
    /// When there is no such machine, or it has ended already.
    pub fn kubelet(machine: &str) -> Result<Self> {
        let name = format!("kubelet-{machine}");
        let pid = pid_of(&name)?;
        ensure!(runs(&pid), "{name} has ended before it was killed");
        program::output(Command::new("kill").args(["-s", "KILL", &pid]), None)?;
        let killed = Self { name, is_back: false };
        wait::until(&format!("the end of {}", killed.name), LIMIT, || {
            Ok(if runs(&pid) { Seen::NotYet("it runs".to_owned()) } else { Seen::Reached(()) })
        })?;
        Ok(killed)
    }

    /// Starts it again as the local cluster starts it, and waits until the cluster is ready.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn start_again(mut self) -> Result<()> {
        self.mend()?;
        ensure!(runs(&pid_of(&self.name)?), "{} was started again and has ended", self.name);
        Ok(())
    }

    fn mend(&mut self) -> Result<()> {
        // Whatever comes of it: a second try would not do better.
        self.is_back = true;
        let mut command = Command::new(settings::path("XTASK")?);
        let said =
            program::run(command.args(["cluster", "mend", "--name", &settings::text("CLUSTER")?]), None)?;
        ensure!(said.success, "{} was not started again: {}{}", self.name, said.output, said.errors);
        Ok(())
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        if self.is_back {
            return;
        }
        if let Err(error) = self.mend() {
            eprintln!("warning: {error:#}; other scenarios will miss it");
        }
    }
}

/// The process of one of the local cluster's programs, such as `kube-apiserver` or `kubelet-node-1`.
///
/// # Errors
/// When there is none of that name.
pub fn pid_of(program: &str) -> Result<String> {
    let file = settings::path("CLUSTER_PIDS")?.join(program);
    let note = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let pid = note.split_whitespace().next().with_context(|| format!("{} is empty", file.display()))?;
    Ok(pid.to_owned())
}

/// Whether a process runs; one that has ended and that nobody has asked about yet does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().next());
    state.is_some_and(|state| !["Z", "X"].contains(&state))
}
