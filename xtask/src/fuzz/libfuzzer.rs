//! libFuzzer around the decoders: how it is built with a stable compiler, and one run of it.

use std::collections::VecDeque;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::fuzz::figures::{Figures, Line};
use crate::progress::Progress;
use crate::tools::{cargo, run};

/// Tells libFuzzer which ways through the code an input has taken. (cargo-fuzz sets the same, and the address sanitizer, which needs a nightly compiler;
/// all of our code is safe Rust.)
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";

/// Names the decoder to the program.
const DECODER: &str = "GROUPCACHE_FUZZ_DECODER";

/// The longest input that is tried: longer ones find the same faults more slowly.
const LONGEST_BYTES: u32 = 4096;

/// What one input may take before it counts as a fault.
const INPUT_SECONDS: u32 = 5;

/// How often a run says how far it is.
const SAYS_EVERY: Duration = Duration::from_secs(10);

/// Lines of what was said last that are shown with a fault.
const LAST_WORDS: usize = 40;

/// The decoders, built.
pub(crate) struct Engine {
    fuzz: PathBuf,
    program: PathBuf,
}

/// How one run ended.
pub(crate) struct Run {
    pub(crate) figures: Figures,
    pub(crate) took: Duration,
    /// The input that broke the decoder.
    pub(crate) broken: Option<PathBuf>,
}

impl Engine {
    /// Builds the decoders with coverage.
    ///
    /// # Errors
    /// When they do not build.
    pub(crate) fn build(fuzz: &Path, progress: &Progress) -> Result<Self> {
        let workspace = fuzz.parent().context("fuzz/ lies in the workspace")?;
        let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
        let missing =
            "libFuzzer is written in C++: install a compiler, such as the package g++, or name one in CXX";
        run::output(Command::new(compiler).arg("--version")).context(missing)?;
        // The same versions as the programs have.
        fs::copy(workspace.join("Cargo.lock"), fuzz.join("Cargo.lock")).context("taking over Cargo.lock")?;
        let target = cargo::host_target()?;
        let built = workspace.join("target/fuzz");
        progress.step("building the decoders with coverage", || {
            let mut build = cargo::command();
            build
                .current_dir(fuzz)
                .args(["build", "--release", "--target", &target, "--target-dir"])
                .arg(&built);
            // Build scripts and macros run here and now, uncovered: that is what naming the target is for.
            run::shown_to_user(build.env("RUSTFLAGS", COVERAGE))
        })?;
        let program = built.join(&target).join("release/groupcache-fuzz");
        Ok(Engine { fuzz: fuzz.to_owned(), program })
    }

    /// Looks into one decoder, from its seeds and what was found before; says how far it is.
    ///
    /// # Errors
    /// When it did not run to its end and no input is to blame.
    pub(crate) fn run(&self, decoder: &str, time: Duration, seed: u32, progress: &Progress) -> Result<Run> {
        let seeds = self.fuzz.join("corpus").join(decoder);
        let found = self.fuzz.join("found").join(decoder);
        fs::create_dir_all(&found).with_context(|| format!("making {}", found.display()))?;
        let mut command = Command::new(&self.program);
        command.env(DECODER, decoder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.args([
            format!("-max_total_time={}", time.as_secs().max(1)),
            format!("-seed={seed}"),
            format!("-max_len={LONGEST_BYTES}"),
            format!("-timeout={INPUT_SECONDS}"),
            format!("-artifact_prefix={}/broken-", found.display()),
            "-print_final_stats=1".to_owned(),
        ]);
        // What is new goes into the first folder; the seeds are only read.
        command.args([&found, &seeds]);
        let began = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("could not start `{}`", run::shown(&command)))?;
        let mut heard = Heard::default();
        heard.listen(&lines(&mut child)?, began, progress);
        let status = child.wait().with_context(|| format!("waiting for `{}`", run::shown(&command)))?;
        if !status.success() {
            heard.words.iter().for_each(|word| progress.say(word));
            if heard.broken.is_none() {
                bail!("`{}` failed ({status}); its last words are above", run::shown(&command));
            }
        }
        Ok(Run { figures: heard.figures, took: began.elapsed(), broken: heard.broken })
    }
}

/// What a run has said so far.
#[derive(Default)]
struct Heard {
    figures: Figures,
    broken: Option<PathBuf>,
    words: VecDeque<String>,
}

impl Heard {
    /// Until it says no more. libFuzzer speaks when it finds a new way, and seldom else: the figures are those it told last.
    fn listen(&mut self, lines: &Receiver<String>, began: Instant, progress: &Progress) {
        let mut next = SAYS_EVERY;
        loop {
            match lines.recv_timeout(next.saturating_sub(began.elapsed())) {
                Ok(line) => self.hear(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if began.elapsed() >= next {
                let Figures { tried, edges, kept } = self.figures;
                let seconds = began.elapsed().as_secs();
                progress.say(&format!("{seconds} s: {tried} inputs or more, {edges} edges, {kept} new kept"));
                next = began.elapsed() + SAYS_EVERY;
            }
        }
    }

    fn hear(&mut self, line: String) {
        match self.figures.hear(&line) {
            Line::Figures => {}
            Line::Broken(input) => self.broken = Some(input),
            Line::Words => {
                self.words.push_back(line);
                if self.words.len() > LAST_WORDS {
                    self.words.pop_front();
                }
            }
        }
    }
}

/// What a program says on standard error, line by line, until its end.
fn lines(child: &mut Child) -> Result<Receiver<String>> {
    let errors = child.stderr.take().context("its standard error is ours")?;
    let (said, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(errors).split(b'\n').map_while(Result::ok) {
            if said.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
    Ok(lines)
}
