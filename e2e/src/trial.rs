//! Three nodes under load, a checker and a watch of versions: what must hold whatever a scenario does to them.

use anyhow::{Context, Result};

use crate::cachecluster::{CacheCluster, Wanted};
use crate::checker::Check;
use crate::fleet::Fleet;
use crate::kubectl::Kubectl;
use crate::load::{self, PodLoad};
use crate::machines::Machines;
use crate::sources::Sources;
use crate::versions::Versions;

/// The cluster has this many nodes.
const NODES: usize = 3;
const LOAD: [&str; 6] = ["--group", "unicode", "--keys", "1000", "--callers=16", "--until-signal"];

/// Begun once Gets are being answered; ends with [`Trial::end`].
#[derive(Debug)]
pub struct Trial<'a> {
    /// The network that the cluster's machines hang on.
    pub machines: Machines,
    /// What was asked for; whoever changes it applies it.
    pub wanted: Wanted,
    /// The cluster.
    pub cluster: CacheCluster<'a>,
    versions: Versions,
    load: PodLoad<'a>,
    /// `None`: it has ended.
    check: Option<Check>,
    /// What came of the check.
    verdict: String,
    _fleet: Fleet,
    _sources: Sources,
}

impl<'a> Trial<'a> {
    /// Brings up what the sources want, as `change` would have it, and waits until its load is being answered.
    ///
    /// # Errors
    /// When something of it does not come up.
    pub fn begin(kubectl: &'a Kubectl, change: impl FnOnce(&mut Wanted)) -> Result<Self> {
        let machines = Machines::of_the_cluster()?;
        let sources = Sources::start(&machines)?;
        let mut wanted = sources.wanted();
        change(&mut wanted);
        let cluster = CacheCluster::up(kubectl, &wanted)?;
        let fleet = Fleet::follow(kubectl, NODES)?;
        let versions = Versions::watch(kubectl, &machines, &fleet)?;
        let check = Some(sources.check(&fleet)?);
        let load = PodLoad::start(kubectl, "callers", &cluster.address(), &LOAD)?;
        load::wait_running(|| Ok(sources.keys.loads()))?;
        let verdict = String::new();
        Ok(Self {
            machines,
            wanted,
            cluster,
            versions,
            load,
            check,
            verdict,
            _fleet: fleet,
            _sources: sources,
        })
    }

    /// Applies what is wanted now.
    ///
    /// # Errors
    /// When it is refused.
    pub fn change(&self) -> Result<()> {
        self.cluster.change(&self.wanted)
    }

    /// Removes that have succeeded so far.
    ///
    /// # Errors
    /// When the check has ended.
    pub fn removes(&self) -> Result<u64> {
        Ok(self.check.as_ref().context("the check has ended")?.removes())
    }

    /// Ends the check before the rest, where Removes need not hold from then on.
    ///
    /// # Errors
    /// When one did not hold, or nothing was checked.
    pub fn end_check(&mut self) -> Result<()> {
        if let Some(check) = self.check.take() {
            let verdict = check.end();
            verdict.demand_none_stale()?;
            self.verdict = verdict.words();
        }
        Ok(())
    }

    /// Ends it; answers in words what was seen.
    ///
    /// # Errors
    /// When a Get failed, a Remove did not hold, or a version went back.
    pub fn end(mut self, when: &str) -> Result<String> {
        self.end_check()?;
        let report = self.load.stop()?;
        report.demand_no_errors(when)?;
        Ok(format!("{}; {}; {}", report.told(), self.versions.end()?, self.verdict))
    }
}
