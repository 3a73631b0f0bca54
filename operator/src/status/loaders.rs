//! What the condition LoadersReachable says.

use std::collections::BTreeMap;

use super::Facts;
use crate::conditions::{Finding, LOADERS_REACHABLE, reason};
use crate::report::Reach;

/// Loaders that are named in full.
const MOST_NAMED: usize = 3;

/// What one loader does to some group at some nodes.
#[derive(Default)]
struct Failing<'a> {
    groups: Vec<&'a str>,
    nodes: Vec<&'a str>,
    failure: &'a str,
}

impl Facts<'_> {
    pub(super) fn loaders_reachable(&self) -> Finding {
        let finding =
            |status, reason, message: String| Finding::new(LOADERS_REACHABLE, status, reason, message);
        if self.cluster.spec.groups.is_empty() {
            return finding("True", reason::NO_LOADERS, "there is no group to load for".to_owned());
        }
        let mut failing: BTreeMap<&str, Failing<'_>> = BTreeMap::new();
        let mut answers = false;
        for endpoint in self.live() {
            let Some(report) = self.reports.get(&endpoint.pod_uid) else { continue };
            for ((group, loader), reach) in &report.loaders {
                answers |= *reach == Reach::Answers;
                if let Reach::Fails(failure) = reach {
                    failing.entry(loader).or_default().add(group, &endpoint.name, failure);
                }
            }
        }
        if !failing.is_empty() {
            let mut told: Vec<String> =
                failing.iter().take(MOST_NAMED).map(|(name, what)| what.told(name)).collect();
            let more = failing.len().saturating_sub(MOST_NAMED);
            told.extend((more > 0).then(|| format!("and {more} more")));
            return finding("False", reason::FAILING, told.join("; "));
        }
        if answers {
            return finding("True", reason::ANSWERING, "every loader that was asked answers".to_owned());
        }
        finding("Unknown", reason::NOT_ASKED, "no loader was asked yet".to_owned())
    }
}

impl<'a> Failing<'a> {
    fn add(&mut self, group: &'a str, node: &'a str, failure: &'a str) {
        if self.failure.is_empty() {
            self.failure = failure;
        }
        for (names, name) in [(&mut self.groups, group), (&mut self.nodes, node)] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }

    fn told(&self, loader: &str) -> String {
        let (groups, nodes) = (self.groups.join(", "), self.nodes.join(", "));
        let why = if self.failure.is_empty() { "its circuit breaker is open" } else { self.failure };
        format!("{loader} fails for {groups} at {nodes}: {why}")
    }
}
