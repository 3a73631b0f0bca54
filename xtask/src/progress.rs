//! Prints what a command is doing, step by step, so that no long step is silent.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// After so much silence a running step says that it is still running: CI kills what says nothing.
const SILENCE: Duration = Duration::from_secs(10);

/// Columns by which what belongs to a step is set in.
const INDENT: usize = 4;

/// Prints the steps of one command on standard error; standard output belongs to the command's answer.
pub(crate) struct Progress {
    began: Instant,
    state: Mutex<State>,
}

struct State {
    /// When a line was last printed, so that nested steps do not both break the same silence.
    last_line: Instant,
    /// How many steps are open, for the indentation.
    depth: usize,
    /// Where the logs of what the command runs are, for the line after a failure.
    logs: Option<String>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let began = Instant::now();
        Self { began, state: Mutex::new(State { last_line: began, depth: 0, logs: None }) }
    }

    /// Runs one step: prints its title, a line at least every ten seconds, and how long it took.
    ///
    /// # Errors
    /// What `work` returns, with the step's title put before it.
    pub(crate) fn step<T>(&self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.line(&format!("==> {title}"));
        self.state().depth += 1;
        let began = Instant::now();
        let result = self.kept_alive(title, began, work);
        let seconds = began.elapsed().as_secs_f64();
        match &result {
            Ok(_) => self.say(&format!("done in {seconds:.1} s")),
            Err(_) => self.say(&format!("FAILED after {seconds:.1} s")),
        }
        self.state().depth -= 1;
        result.with_context(|| title.to_owned())
    }

    /// Prints one line below the current step.
    pub(crate) fn say(&self, text: &str) {
        self.line(text);
    }

    /// Names the folder that a failure's last line points to.
    pub(crate) fn logs_are_in(&self, folder: &Path) {
        self.state().logs = Some(folder.display().to_string());
    }

    /// Ends the command: on failure prints the step, the causes and where the logs are.
    pub(crate) fn finish(&self, result: Result<()>) -> ExitCode {
        let Err(error) = result else { return ExitCode::SUCCESS };
        eprintln!("\nerror: {error}");
        for cause in error.chain().skip(1) {
            eprintln!("  because: {}", cause.to_string().replace('\n', "\n           "));
        }
        if let Some(folder) = &self.state().logs {
            eprintln!("  logs: {folder}");
        }
        ExitCode::FAILURE
    }

    fn kept_alive<T>(&self, title: &str, began: Instant, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            // Dropping `done` ends the thread, also when `work` panics.
            let (done, done_rx) = mpsc::channel::<()>();
            scope.spawn(move || {
                while done_rx.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    if self.state().last_line.elapsed() >= SILENCE {
                        self.say(&format!("still {title}: {} s so far", began.elapsed().as_secs()));
                    }
                }
            });
            let result = work();
            drop(done);
            result
        })
    }

    fn line(&self, text: &str) {
        let mut state = self.state();
        let elapsed = self.began.elapsed().as_secs();
        eprintln!(
            "[{:>3}:{:02}] {:indent$}{text}",
            elapsed / 60,
            elapsed % 60,
            "",
            indent = state.depth * INDENT
        );
        state.last_line = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic between lock and unlock leaves only a stale time behind: go on printing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failed_step_names_itself_and_keeps_its_cause() {
        let progress = Progress::new();

        let result = progress.step("outer", || progress.step("inner", || Err::<(), _>(anyhow!("no disk"))));

        let chain: Vec<String> = result.unwrap_err().chain().map(ToString::to_string).collect();
        assert_eq!(chain, ["outer", "inner", "no disk"]);
    }

    #[test]
    fn a_step_hands_back_what_its_work_returns() {
        assert_eq!(Progress::new().step("count", || Ok(7)).unwrap(), 7);
    }
}
