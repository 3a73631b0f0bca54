//! A program that runs beside a scenario: its words go to a log, and it is gone when the scenario is.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::program;
use crate::settings;
use crate::wait::{self, Seen};

/// Killed when dropped.
#[derive(Debug)]
pub struct Spawned {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Spawned {
    /// Starts a program; its output and errors go to `<folder of logs>/<name>.log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let folder = settings::path("LOGS")?;
        fs::create_dir_all(&folder)?;
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("could not start {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Everything that it has said.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where its words are.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it has not ended.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends a signal by its name, for example `TERM` or `KILL`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&mut self, signal: &str) -> Result<()> {
        if !self.is_running()? {
            bail!("{} has ended already; its words are in {}", self.name, self.log.display());
        }
        // It was not waited for yet, so the number is still its own.
        program::output(Command::new("kill").args(["-s", signal, &self.child.id().to_string()]), None)?;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it runs on beyond `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || {
            Ok(match self.child.try_wait()? {
                Some(status) => Seen::Reached(status),
                None => Seen::NotYet("it runs".to_owned()),
            })
        })
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
