//! What `kubectl get --watch` says of objects as they change; begun again when it ends, say with its connection.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::spawned::Spawned;

/// Between two looks whether it runs, and before it is begun again.
const PAUSE: Duration = Duration::from_millis(100);

/// Goes on until it is dropped.
#[derive(Debug)]
pub struct Watch {
    log: PathBuf,
    over: Arc<AtomicBool>,
    keeper: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches these objects (`get`'s arguments); of each it says `line`, a JSONPath template, now and after every change.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn begin(kubectl: &Kubectl, name: &str, objects: &[&str], line: &str) -> Result<Self> {
        let format = format!("jsonpath={line}{{\"\\n\"}}");
        let mut command = kubectl.command(&[&["get"], objects, &["--watch", "--output", &format]].concat());
        let name = format!("{}-{name}", kubectl.namespace());
        let mut process = Spawned::start(&name, &mut command)?;
        let (log, over) = (process.log().to_owned(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&over);
        let keeper = thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                thread::sleep(PAUSE);
                if !process.is_running().unwrap_or(true)
                    && let Ok(next) = Spawned::start(&name, &mut command)
                {
                    process = next;
                }
            }
        });
        Ok(Self { log, over, keeper: Some(keeper) })
    }

    /// Everything that it has said so far, what kubectl complained of included.
    #[must_use]
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The numbers among what it has said, in order; nothing at all stands for 0.
    #[must_use]
    pub fn numbers(&self) -> Vec<u64> {
        let said = self.said();
        let number = |line: &str| if line.is_empty() { Some(0) } else { line.parse().ok() };
        said.lines().filter_map(number).collect()
    }

    /// Where that is written.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(keeper) = self.keeper.take() {
            keeper.join().ok();
        }
    }
}
