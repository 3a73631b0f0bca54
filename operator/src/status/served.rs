//! What the status says to those who use the cache: where they call, and how each group does.

use groupcache_crds::CacheCluster;
use groupcache_crds::status::{Endpoints, GroupStatus};
use groupcache_proto::cluster::Configuration;
use groupcache_ring::State;
use kube::ResourceExt;

use super::{Facts, count};
use crate::names;
use crate::report::{Reach, Report};

/// Where applications call.
pub(super) fn endpoints(cluster: &CacheCluster) -> Endpoints {
    let namespace = cluster.namespace().unwrap_or_default();
    let of = |service: String| format!("{service}.{namespace}.svc:{}", names::DATA_PORT);
    Endpoints { client: of(names::base(cluster)), balanced: of(names::balanced(cluster)) }
}

impl Facts<'_> {
    /// A faulty spec from the beginning on.
    pub(super) fn never_configured(&self) -> bool {
        !self.faults.is_empty() && self.held.configuration == Configuration::default()
    }

    /// Why no node serves.
    pub(super) fn why_nobody(&self) -> String {
        if self.pods.is_empty() {
            return "there are no pods yet".to_owned();
        }
        let refusal = self.live().find(|e| self.reports.get(&e.pod_uid).is_some_and(|r| r.refusal.is_some()));
        if let Some(text) = refusal.and_then(|endpoint| self.laggard(endpoint)) {
            return text;
        }
        let ready = self.pods.iter().filter(|pod| pod.ready).count();
        let active = self.in_state(State::Active).count();
        format!("{} pods, {ready} ready, {active} own keys", self.pods.len())
    }

    /// The groups in force. Of a change that is not in force yet the configuration's condition tells.
    pub(super) fn groups(&self) -> Vec<GroupStatus> {
        let since = self.held.configuration_since;
        let reports = self.live().filter_map(|endpoint| self.reports.get(&endpoint.pod_uid));
        let running: Vec<&Report> = reports.filter(|report| report.has(since)).collect();
        let one = |group: &groupcache_proto::cluster::Group| {
            let key = (group.name.clone(), group.loader.clone());
            let reach = || running.iter().filter_map(|report| report.loaders.get(&key));
            GroupStatus {
                name: group.name.clone(),
                loader: group.loader.clone(),
                applied: count(running.len()),
                loader_answers: count(reach().filter(|reach| **reach == Reach::Answers).count()),
                loader_fails: count(reach().filter(|reach| matches!(reach, Reach::Fails(_))).count()),
            }
        };
        self.held.configuration.groups.iter().map(one).collect()
    }
}
