//! Programs of a cluster that outlive the command that started them: started, recognised again, ended by pid.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::cluster::cgroup::Cgroups;
use crate::cluster::network;
use crate::cluster::plan::Paths;
use crate::tools::run;

/// The group of these programs, below the cluster's own.
const GROUP: &str = "programs";
/// How long killed processes may take to disappear.
const KILL_TIME: Duration = Duration::from_secs(10);

/// How much of a log an error quotes: enough for the cause, which is said last.
const QUOTED_LINES: usize = 8;

/// How to start a program.
pub(crate) struct Program {
    /// Unique in its cluster; names its pid file and its log.
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// What it gets as standard input: nothing, or a listening socket.
    pub(crate) input: Stdio,
}

impl Program {
    pub(crate) fn new(name: impl Into<String>, namespace: &str, path: PathBuf) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.to_owned(),
            path,
            arguments: Vec::new(),
            input: Stdio::null(),
        }
    }

    pub(crate) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }
}

/// A program that was started, as its pid file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// In clock ticks since boot: with the pid it names one process for ever, for pids are given out again.
    started: u64,
}

/// Starts a program in its namespace, in a session of its own, with its output in a log file, and notes its pid.
///
/// # Errors
/// When it cannot be started or noted.
pub(crate) fn start(program: Program, paths: &Paths, cgroups: &Cgroups) -> Result<Daemon> {
    let log = paths.logs.join(format!("{}.log", program.name));
    let output = File::options().create(true).append(true).open(&log)?;
    let inner = network::enter(&program.namespace, &program.path);
    let mut child = Command::new("setsid")
        .arg(inner.get_program())
        .args(inner.get_args())
        .args(&program.arguments)
        // Proxy settings and Go's knobs of the user's shell are not for the cluster's programs.
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(program.input)
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("could not start {}", program.path.display()))?;
    let noted = cgroups
        .enter(&paths.cgroup.join(GROUP), child.id())
        .and_then(|()| start_time(child.id()).context("it is gone"))
        .with_context(|| {
            let end = run::last_lines(&log, QUOTED_LINES);
            format!("{} did not start. The end of {}:\n{end}", program.name, log.display())
        })
        .and_then(|started| note(Daemon { name: program.name, pid: child.id(), started }, paths));
    if noted.is_err() {
        // Nobody would find it again. If it has ended already, that is as good.
        child.kill().ok();
    }
    noted
}

/// Writes the pid file by which later commands know the program.
fn note(daemon: Daemon, paths: &Paths) -> Result<Daemon> {
    let file = pids(paths).join(&daemon.name);
    fs::write(&file, format!("{} {}\n", daemon.pid, daemon.started))
        .with_context(|| format!("could not write {}", file.display()))?;
    Ok(daemon)
}

/// The programs that were started for a cluster, running or not.
pub(crate) fn all(paths: &Paths) -> Vec<Daemon> {
    let entries = fs::read_dir(pids(paths)).into_iter().flatten().flatten();
    let mut found: Vec<Daemon> = entries.filter_map(|entry| read_pid_file(&entry.path())).collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn read_pid_file(path: &Path) -> Option<Daemon> {
    let text = fs::read_to_string(path).ok()?;
    let (pid, started) = text.trim().split_once(' ')?;
    let name = path.file_name()?.to_str()?.to_owned();
    Some(Daemon { name, pid: pid.parse().ok()?, started: started.parse().ok()? })
}

impl Daemon {
    /// Whether this very process, and not another that got its pid later, runs.
    pub(crate) fn is_running(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Has it go on if somebody has stopped it, as a scenario does that ended halfway.
    pub(crate) fn wake(&self) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw).filter(|_| self.is_running())
        {
            // Gone since: whoever looks next tells.
            kill_process(pid, Signal::CONT).ok();
        }
    }

    /// Fails when the program has ended, with the end of its log.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn check(&self, paths: &Paths) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = paths.logs.join(format!("{}.log", self.name));
        bail!(
            "{} has ended. The end of {}:\n{}",
            self.name,
            log.display(),
            run::last_lines(&log, QUOTED_LINES)
        );
    }
}

/// Ends every process of a cluster: those in its pid files and everything in its control groups.
///
/// # Errors
/// When one is still there after ten seconds.
pub(crate) fn kill_all(paths: &Paths, cgroups: &Cgroups) -> Result<()> {
    let ours = all(paths);
    // First those that would start others again.
    for daemon in ours.iter().filter(|one| one.name.starts_with("kube") && one.is_running()) {
        kill(daemon.pid);
    }
    let began = Instant::now();
    loop {
        let mut left = cgroups.processes(&paths.cgroup);
        left.extend(ours.iter().filter(|daemon| daemon.is_running()).map(|daemon| daemon.pid));
        // A zombie waits for its parent to notice; it holds nothing any more.
        left.retain(|pid| start_time(*pid).is_some());
        if left.is_empty() {
            return Ok(());
        }
        if began.elapsed() > KILL_TIME {
            bail!("processes {left:?} are still there {} s after they were killed", KILL_TIME.as_secs());
        }
        for pid in left {
            kill(pid);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn kill(pid: u32) {
    // Gone already: as good as killed.
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::KILL).ok();
    }
}

/// The folder of pid files.
pub(crate) fn pids(paths: &Paths) -> PathBuf {
    paths.run.join("pids")
}

/// Makes the folders that `start` writes to.
///
/// # Errors
/// When one cannot be made.
pub(crate) fn make_folders(paths: &Paths) -> Result<()> {
    for folder in [pids(paths), paths.logs.clone()] {
        fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
    }
    Ok(())
}

/// When a process began, in clock ticks since boot; `None` when it is gone or a zombie.
fn start_time(pid: u32) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<u64> {
    // The second field, the program's name in brackets, may itself hold spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // State is field 3 of proc(5), the start time field 22.
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";

    #[test]
    fn the_start_time_is_found_behind_a_name_with_brackets() {
        assert_eq!(parse_stat(STAT), Some(777));
    }

    #[test]
    fn a_zombie_does_not_run() {
        assert_eq!(parse_stat(&STAT.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_process_with_the_pid_but_another_start_is_not_ours() {
        let me = std::process::id();
        let started = start_time(me).unwrap();

        assert!(Daemon { name: "me".into(), pid: me, started }.is_running());
        assert!(!Daemon { name: "me".into(), pid: me, started: started + 1 }.is_running());
    }
}
