//! A process that is stopped for a while, as if its machine hung: nothing tells others that it does not run.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use crate::killed;
use crate::program;

/// Goes on when this is dropped, also when the scenario fails: others need it.
#[derive(Debug)]
pub struct Stopped {
    what: String,
    pid: String,
}

impl Stopped {
    /// Stops the API server.
    ///
    /// # Errors
    /// When it has ended.
    pub fn api_server() -> Result<Self> {
        Self::process("the API server".to_owned(), killed::pid_of("kube-apiserver")?)
    }

    /// Stops the process of the container that was told this variable, such as `POD_NAME=operator-1`.
    ///
    /// # Errors
    /// When there is none on this machine.
    pub fn container(variable: &str) -> Result<Self> {
        Self::process(format!("the process with {variable}"), pid_in_container(variable)?)
    }

    fn process(what: String, pid: String) -> Result<Self> {
        let stopped = Self { what, pid };
        stopped.signal("STOP")?;
        Ok(stopped)
    }

    fn signal(&self, name: &str) -> Result<()> {
        program::output(Command::new("kill").args(["-s", name, &self.pid]), None).map(drop)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Err(error) = self.signal("CONT") {
            eprintln!("warning: {} is still stopped ({error:#}); other scenarios will miss it", self.what);
        }
    }
}

/// The process of the container that was told this variable: the machines of the local cluster are on this one.
///
/// # Errors
/// When there is none.
pub fn pid_in_container(variable: &str) -> Result<String> {
    let processes = fs::read_dir("/proc").context("looking for processes")?.flatten();
    let found = processes.filter_map(|process| process.file_name().into_string().ok()).find(|id| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|one| one == variable.as_bytes())
    });
    found.with_context(|| {
        format!("no process here was told {variable}: this scenario needs the local cluster")
    })
}
