//! What the nodes of a cluster have counted, those that are gone included: read from their metrics again and again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::fleet::{Fleet, Lookout};
use crate::http;
use crate::kubectl::Kubectl;
use crate::machines::Machines;
use crate::settings;

/// Between two looks at all nodes. What a node counts after the last look at it is lost with it.
const PAUSE: Duration = Duration::from_millis(500);
/// A node that does not answer by then is looked at the next time.
const PATIENCE: Duration = Duration::from_millis(500);
const ADMIN_PORT: u16 = 9090;
/// What the log of changes leaves out: numbers that change all the time and tell nothing of a change of the ring.
const QUIET: [&str; 4] = ["_bucket", "_seconds", "peer_requests", "connections"];

/// Series and their values, as a node's page has them.
type Page = BTreeMap<String, u64>;

/// Looks at the nodes' metrics until it is dropped.
#[derive(Debug)]
pub struct Tally {
    shared: Arc<Shared>,
    looker: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    over: AtomicBool,
    /// The newest page of each pod, by its uid.
    pages: Mutex<BTreeMap<String, Page>>,
}

impl Tally {
    /// Begins, with a first look at every node; what changes from look to look is written into the scenario's logs.
    ///
    /// # Errors
    /// When the cluster's network cannot be entered.
    pub fn watch(kubectl: &Kubectl, machines: &Machines, fleet: &Fleet) -> Result<Self> {
        let path = settings::path("LOGS")?.join(format!("{}-tally.log", kubectl.namespace()));
        let log = File::create(&path).with_context(|| format!("writing {}", path.display()))?;
        let (shared, lookout) = (Arc::new(Shared::default()), fleet.lookout());
        let following = Arc::clone(&shared);
        let looker = machines.visit(|| {
            following.look(&lookout, &log, Instant::now());
            Ok(thread::spawn(move || following.follow(&lookout, &log)))
        })?;
        Ok(Self { shared, looker: Some(looker) })
    }

    /// The sum, over all pods there were, of the series of this name that have these labels, such as `group="unicode"`.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        self.shared.pages().values().map(|page| of(page, name, labels)).sum()
    }

    /// The same of one pod.
    #[must_use]
    pub fn of(&self, uid: &str, name: &str, labels: &[&str]) -> u64 {
        self.shared.pages().get(uid).map_or(0, |page| of(page, name, labels))
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(looker) = self.looker.take() {
            looker.join().ok();
        }
    }
}

impl Shared {
    fn pages(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Page>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn follow(&self, lookout: &Lookout, log: &File) {
        let began = Instant::now();
        while !self.over.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
            self.look(lookout, log, began);
        }
    }

    fn look(&self, lookout: &Lookout, mut log: &File, began: Instant) {
        for pod in lookout.located() {
            let admin = SocketAddr::new(pod.address, ADMIN_PORT);
            let Ok(answer) = http::get_within(admin, "/metrics", PATIENCE) else { continue };
            let page = read(&answer.body);
            let before = self.pages().insert(pod.uid.clone(), page.clone()).unwrap_or_default();
            let changes = changes(&before, &page);
            if !changes.is_empty() {
                // For whoever wants to know what happened; the scenario does not depend on it.
                let at = began.elapsed().as_millis();
                writeln!(log, "{at} ms {} {}: {}", pod.uid, pod.address, changes.join(" ")).ok();
            }
        }
    }
}

fn of(page: &Page, name: &str, labels: &[&str]) -> u64 {
    let wanted = page.iter().filter(|(series, _)| {
        let (its_name, its_labels) = series.split_once('{').unwrap_or((series, ""));
        its_name == name && labels.iter().all(|label| its_labels.contains(label))
    });
    wanted.map(|(_, value)| value).sum()
}

/// The whole numbers among the nodes' own metrics.
fn read(page: &str) -> Page {
    let lines = page.lines().filter(|line| line.starts_with("groupcache_"));
    let values = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        Some((series.to_owned(), value.parse::<f64>().ok()? as u64))
    });
    values.collect()
}

fn changes(before: &Page, now: &Page) -> Vec<String> {
    let loud = now.iter().filter(|(series, _)| QUIET.iter().all(|quiet| !series.contains(quiet)));
    let changed = loud.filter_map(|(series, value)| {
        let was = before.get(series).copied().unwrap_or(0);
        (was != *value).then(|| format!("{series} {was}->{value}"))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP x\ngroupcache_gets_total{group=\"a\",result=\"main\"} 3\n\
        groupcache_gets_total{group=\"a\",result=\"hot\"} 4\ngroupcache_gets_total{group=\"b\",result=\"hot\"} 5\n\
        groupcache_ready 1\nother 7\n";

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let page = read(PAGE);

        assert_eq!(of(&page, "groupcache_gets_total", &["group=\"a\""]), 7);
        assert_eq!(of(&page, "groupcache_gets_total", &["result=\"hot\""]), 9);
        assert_eq!(of(&page, "groupcache_ready", &[]), 1);
        assert_eq!(of(&page, "groupcache_gets", &[]), 0);
    }

    #[test]
    fn what_changed_is_told_and_what_did_not_is_not() {
        let (before, now) =
            (read("groupcache_a 1\ngroupcache_b 2\n"), read("groupcache_a 1\ngroupcache_b 5\n"));

        assert_eq!(changes(&before, &now), ["groupcache_b 2->5"]);
    }
}
