//! Lets a long command end in order on Ctrl-C or SIGTERM: what it runs is stopped, and what it started is cleaned up.

use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::tools::run;

/// What shells expect of a command that an interrupt ended.
const EXIT_CODE: i32 = 130;

/// Whether the user asked the command to end; clones share it.
#[derive(Clone)]
pub(crate) struct Interrupt {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    asked: bool,
    /// The process group of the program that runs now.
    running: Option<Pid>,
}

impl Interrupt {
    /// From here on the first signal stops the running program, and the second ends this process at once.
    ///
    /// # Errors
    /// When the signals are handled by another part of the process already.
    pub(crate) fn listen() -> Result<Self> {
        let interrupt = Self { state: Arc::default() };
        let handler = interrupt.clone();
        ctrlc::set_handler(move || handler.ask()).context("listening for Ctrl-C")?;
        Ok(interrupt)
    }

    /// Fails once the user has asked for the end: between two steps, this is where the command stops.
    ///
    /// # Errors
    /// When a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.state().asked {
            bail!("interrupted");
        }
        Ok(())
    }

    /// Runs a program to its end, its output shown to the user; an interrupt stops it and all that it started.
    ///
    /// # Errors
    /// When it cannot start, exits non-zero, or is interrupted.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        use std::os::unix::process::CommandExt;

        self.check()?;
        let shown = run::shown(command);
        // A group of its own, so that a signal reaches the programs that it starts.
        command.process_group(0).stdin(std::process::Stdio::null());
        let mut child = command.spawn().with_context(|| format!("could not start `{shown}`"))?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        self.state().running = group;
        if let (Err(_), Some(group)) = (self.check(), group) {
            // The signal came between the first look and the start.
            stop(group);
        }
        let status = child.wait();
        self.state().running = None;
        let status = status.with_context(|| format!("waiting for `{shown}`"))?;
        self.check()?;
        if !status.success() {
            bail!("`{shown}` failed ({status}); its own words are above");
        }
        Ok(())
    }

    fn ask(&self) {
        let mut state = self.state();
        if state.asked {
            eprintln!("\ninterrupted twice: ending without cleaning up");
            std::process::exit(EXIT_CODE);
        }
        state.asked = true;
        eprintln!("\ninterrupted: stopping what runs; once more ends at once, without cleaning up");
        if let Some(group) = state.running {
            stop(group);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group that has ended already needs no stopping.
fn stop(group: Pid) {
    kill_process_group(group, Signal::TERM).ok();
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn interrupt() -> Interrupt {
        Interrupt { state: Arc::default() }
    }

    #[test]
    fn an_interrupt_stops_the_program_that_runs_and_what_it_started() {
        let interrupt = interrupt();
        let other = interrupt.clone();
        let began = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while other.state().running.is_none() {
                    std::thread::yield_now();
                }
                other.ask();
            });
            let result = interrupt.run(Command::new("sh").args(["-c", "sleep 60 & wait"]));
            assert_eq!(result.unwrap_err().to_string(), "interrupted");
        });
        assert!(began.elapsed().as_secs() < 30);
    }

    #[test]
    fn after_an_interrupt_nothing_more_is_started() {
        let interrupt = interrupt();
        interrupt.ask();

        assert!(interrupt.run(&mut Command::new("true")).is_err());
    }

    #[test]
    fn a_program_that_fails_is_an_error_that_names_it() {
        let text = interrupt().run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err().to_string();

        assert!(text.contains("sh -c exit 3") && text.contains("exit status: 3"), "{text}");
    }
}
