//! The status of a cluster: from children, endpoints, the ledger and what nodes said, to conditions and counts. Pure.

use std::collections::HashMap;

use groupcache_crds::CacheCluster;
use groupcache_crds::status::{CacheClusterStatus, Membership};
use groupcache_ring::{Member, Ring, State};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;

use crate::certificates;
use crate::conditions::{
    AVAILABLE, CONFIGURATION_APPLIED, DEGRADED, Finding, PROGRESSING, RING_CONVERGED, reason,
};
use crate::endpoints::Endpoint;
use crate::ledger::Held;
use crate::ledger::settle::Settlement;
use crate::names;
use crate::pods::{NAME_TAKEN, PodFacts, Problem};
use crate::report::Report;

/// Everything that a status is made from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The object, with its status before.
    pub cluster: &'a CacheCluster,
    /// The image its nodes are meant to run.
    pub image: &'a str,
    /// The StatefulSet as the API server has it.
    pub statefulset: &'a StatefulSet,
    /// The pods.
    pub pods: &'a [PodFacts],
    /// How many pods run an old template.
    pub outdated: usize,
    /// Why the next of them may not be replaced now.
    pub blocked: Option<&'a str>,
    /// The endpoints of the members Service.
    pub endpoints: &'a [Endpoint],
    /// What is in force.
    pub held: &'a Held,
    /// How far it has settled.
    pub settlement: &'a Settlement,
    /// What the nodes said, by pod uid.
    pub reports: &'a HashMap<String, Report>,
    /// Members that are kept although they look gone.
    pub guarded: &'a [String],
    /// Why children could not be made.
    pub unmade: &'a [Problem],
    /// What is said of its certificates.
    pub certificates: &'a certificates::State,
    /// What the operator leaves undone, if it is told to leave the cluster alone.
    pub pause: Option<Pause>,
    /// Which Secrets are not there that the pods are to mount, or not of use.
    pub pending: &'a [String],
    /// What is wrong with the spec's groups and loaders.
    pub faults: &'a [String],
    /// The moment of the look.
    pub now: Timestamp,
}

/// The status now. Conditions keep the time of their last change.
#[must_use]
pub fn status(facts: &Facts<'_>) -> CacheClusterStatus {
    let before = facts.cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let generation = facts.cluster.metadata.generation;
    let findings = [
        facts.available(),
        facts.ring_converged(),
        facts.progressing(),
        facts.degraded(),
        facts.configuration_applied(),
        secured::certificates_ready(facts.certificates),
        facts.loaders_reachable(),
        facts.paused(),
    ];
    let selector = names::selector(facts.cluster);
    let selector: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let alive = facts.pods.iter().filter(|pod| !pod.terminating);
    CacheClusterStatus {
        observed_generation: generation,
        replicas: count(alive.clone().count()),
        ready_replicas: count(alive.clone().filter(|pod| pod.ready).count()),
        updated_replicas: count(alive.count().saturating_sub(facts.outdated)),
        selector: Some(selector.join(",")),
        image: Some(facts.image.to_owned()),
        endpoints: Some(served::endpoints(facts.cluster)),
        membership: Some(facts.membership()),
        groups: facts.groups(),
        conditions: findings.map(|finding| finding.condition(before, generation, facts.now)).into(),
    }
}

/// The status of a cluster that cannot have a ledger: nothing can be said but why.
#[must_use]
pub fn without_ledger(cluster: &CacheCluster, unmade: &[Problem], now: Timestamp) -> CacheClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let generation = cluster.metadata.generation;
    let text = unmade.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("; ");
    let reason = unmade.first().map_or(NAME_TAKEN, |problem| problem.reason);
    let mut findings = vec![
        Finding::new(PROGRESSING, "False", reason::STALLED, text.clone()),
        Finding::new(DEGRADED, "True", reason, text.clone()),
    ];
    // Nodes that had a ledger go on serving; without one there never were any.
    if !status.conditions.iter().any(|held| held.type_ == AVAILABLE) {
        findings.insert(0, Finding::new(AVAILABLE, "False", reason::NO_NODE_SERVES, text));
    }
    for finding in findings {
        let told = finding.condition(&status.conditions, generation, now);
        status.conditions.retain(|held| held.type_ != told.type_);
        status.conditions.push(told);
    }
    status.observed_generation = generation;
    status
}

impl Facts<'_> {
    fn available(&self) -> Finding {
        let finding = |status, reason, message| Finding::new(AVAILABLE, status, reason, message);
        let wanted = self.wanted();
        if wanted == 0 {
            return finding("False", reason::SCALED_TO_ZERO, "replicas is 0".to_owned());
        }
        let serving = self.members().filter(|member| self.serves(member)).count();
        if self.never_configured() {
            let text = "no configuration was ever in force, see ConfigurationApplied: every Get is refused";
            return finding("False", reason::NEVER_CONFIGURED, text.to_owned());
        }
        if serving > 0 {
            return finding("True", reason::SERVING, format!("{serving} of {wanted} nodes serve"));
        }
        let why = self.first_problem().map_or_else(|| self.why_nobody(), |(_, text)| text);
        finding("False", reason::NO_NODE_SERVES, format!("no node of the ring is ready: {why}"))
    }

    fn ring_converged(&self) -> Finding {
        let finding = |status, reason, message| Finding::new(RING_CONVERGED, status, reason, message);
        let version = self.held.version();
        let live: Vec<&Endpoint> = self.live().collect();
        if live.is_empty() {
            let reason = if self.wanted() == 0 { reason::SCALED_TO_ZERO } else { reason::NO_NODES };
            let status = if self.wanted() == 0 { "True" } else { "Unknown" };
            return finding(status, reason, "there is no node to agree".to_owned());
        }
        let laggards: Vec<String> = live.iter().filter_map(|endpoint| self.laggard(endpoint)).collect();
        if !laggards.is_empty() {
            let message = format!("{}{}", laggards.join("; "), self.crowd());
            return finding("False", reason::NOT_ACKNOWLEDGED, message);
        }
        let expected = self.ring_hash();
        let strange = live.iter().filter_map(|endpoint| {
            let applied = self.reports.get(&endpoint.pod_uid)?.applied?;
            let differs = applied.version == version && applied.ring_hash != expected;
            differs.then(|| {
                format!("{} has the ring {:016x}, not {expected:016x}", endpoint.name, applied.ring_hash)
            })
        });
        let strange: Vec<String> = strange.collect();
        if !strange.is_empty() {
            return finding("False", reason::RINGS_DIFFER, strange.join("; "));
        }
        if !self.guarded.is_empty() {
            return finding("False", reason::MEMBERS_MISSING, self.missing());
        }
        let joining: Vec<&str> = self.in_state(State::Joining).map(|member| member.name.as_str()).collect();
        if !joining.is_empty() {
            let message = format!("{} about to own keys{}", joining.join(", "), self.settling());
            return finding("False", reason::MEMBERS_JOINING, message);
        }
        if self.held.snapshot.settled() < self.held.membership_since {
            let since = self.held.membership_since;
            let message = format!("an earlier membership than {since} still binds{}", self.settling());
            return finding("False", reason::SETTLING, message);
        }
        finding("True", reason::CONVERGED, format!("{} nodes agree on {version}", live.len()))
    }

    fn progressing(&self) -> Finding {
        let finding = |status, reason, message| Finding::new(PROGRESSING, status, reason, message);
        let wanted = self.wanted();
        let set = self.statefulset.status.as_ref();
        let seen = set.and_then(|status| status.observed_generation) == self.statefulset.metadata.generation;
        let alive = self.pods.iter().filter(|pod| !pod.terminating);
        if let Some(paused) = self.pause_of_progress() {
            return paused;
        }
        if let Some((_, text)) = self.unmade() {
            return finding("False", reason::STALLED, text);
        }
        let (there, ready) = (alive.clone().count(), alive.filter(|pod| pod.ready).count());
        if !seen {
            return finding(
                "True",
                reason::RECONCILING,
                "the StatefulSet has not seen the change yet".to_owned(),
            );
        }
        if let Some((_, text)) = self.first_problem().filter(|_| ready < wanted) {
            return finding("False", reason::STALLED, text);
        }
        if self.pods.len() != wanted {
            return finding("True", reason::SCALING, format!("{there} of {wanted} pods are there"));
        }
        if self.outdated > 0 {
            let blocked = self.blocked.map(|why| format!("; {why}")).unwrap_or_default();
            let message = format!("{} pods run the template before{blocked}", self.outdated);
            return finding("True", reason::ROLLING_OUT, message);
        }
        if ready < wanted {
            return finding("True", reason::WAITING_FOR_PODS, format!("{ready} of {wanted} pods are ready"));
        }
        let active = self.in_state(State::Active).count();
        if active != self.members().count() {
            let others = self.members().count() - active;
            return finding("True", reason::RING_CHANGING, format!("{others} members join or leave"));
        }
        finding("False", reason::COMPLETE, format!("{wanted} nodes are in the ring"))
    }

    fn degraded(&self) -> Finding {
        let finding = |status, reason, message| Finding::new(DEGRADED, status, reason, message);
        if let Some((reason, text)) = self.first_problem() {
            return finding("True", reason, text);
        }
        if !self.guarded.is_empty() {
            return finding("True", reason::MEMBERS_MISSING, self.missing());
        }
        finding("False", reason::AS_EXPECTED, String::new())
    }

    fn configuration_applied(&self) -> Finding {
        let finding = |status, reason, message| Finding::new(CONFIGURATION_APPLIED, status, reason, message);
        if !self.faults.is_empty() {
            let stays =
                if self.never_configured() { "nothing was in force" } else { "what was in force stays" };
            let message = format!("{}; {stays}", self.faults.join("; "));
            return finding("False", reason::INVALID, message);
        }
        if let Some(withheld) = self.withheld_configuration() {
            return withheld;
        }
        if !self.pending.is_empty() {
            let message = format!("{}; pods that run go on as they are", self.pending.join("; "));
            return finding("False", reason::SECRET_PENDING, message);
        }
        let refusals = self.live().filter_map(|endpoint| {
            let refusal = self.reports.get(&endpoint.pod_uid)?.refusal.as_ref()?;
            Some(format!("{} refuses {}: {}", endpoint.name, refusal.version, refusal.faults.join(", ")))
        });
        let refusals: Vec<String> = refusals.collect();
        if !refusals.is_empty() {
            return finding("False", reason::REFUSED, refusals.join("; "));
        }
        let since = self.held.configuration_since;
        let has = |endpoint: &Endpoint| self.reports.get(&endpoint.pod_uid).is_some_and(|r| r.has(since));
        let behind: Vec<&str> = self.live().filter(|e| !has(e)).map(|e| e.name.as_str()).collect();
        if self.live().next().is_none() {
            return finding("Unknown", reason::NO_NODES, "there is no node to run it".to_owned());
        }
        if !behind.is_empty() {
            let message = format!("{} not acknowledged {since} yet", subject(&behind));
            return finding("False", reason::PENDING, message);
        }
        finding("True", reason::APPLIED, format!("{} nodes run it", self.live().count()))
    }

    fn membership(&self) -> Membership {
        let version = self.held.version();
        let has =
            |member: &&Member| self.reports.get(&member.pod_uid).is_some_and(|report| report.has(version));
        Membership {
            epoch: i64::try_from(version.epoch).unwrap_or(i64::MAX),
            sequence: i64::try_from(version.sequence).unwrap_or(i64::MAX),
            ring_hash: Some(format!("{:016x}", self.ring_hash())),
            active: count(self.in_state(State::Active).count()),
            joining: count(self.in_state(State::Joining).count()),
            draining: count(self.in_state(State::Draining).count()),
            acknowledged: count(self.members().filter(has).count()),
            settled: Some(self.held.snapshot.settled().to_string()),
            priors: count(self.held.snapshot.priors().len()),
        }
    }

    /// The nodes that have not acknowledged the version in force.
    #[must_use]
    pub fn unconverged(&self) -> usize {
        self.live().filter(|endpoint| self.laggard(endpoint).is_some()).count()
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.cluster.spec.replicas).unwrap_or(0)
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.held.snapshot.members().iter()
    }

    fn in_state(&self, state: State) -> impl Iterator<Item = &Member> {
        self.members().filter(move |member| member.state == state)
    }

    /// Endpoints that stay.
    fn live(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(|endpoint| !endpoint.terminating)
    }

    fn serves(&self, member: &Member) -> bool {
        let endpoint = self.endpoints.iter().find(|endpoint| endpoint.pod_uid == member.pod_uid);
        member.state == State::Active && endpoint.is_some_and(|endpoint| endpoint.serving)
    }

    fn ring_hash(&self) -> u64 {
        Ring::new(self.held.snapshot.members()).hash()
    }

    fn laggard(&self, endpoint: &Endpoint) -> Option<String> {
        let (name, version) = (&endpoint.name, self.held.version());
        let Some(report) = self.reports.get(&endpoint.pod_uid) else {
            return Some(format!("{name} has not been reached yet"));
        };
        if let Some(error) = &report.unreachable {
            return Some(format!("{name} cannot be reached: {error}"));
        }
        if let Some(refusal) = &report.refusal {
            return Some(format!("{name} refuses {}: {}", refusal.version, refusal.faults.join(", ")));
        }
        match report.applied {
            Some(applied) if applied.version >= version => None,
            Some(applied) => Some(format!("{name} has {}, not {version}", applied.version)),
            None => Some(format!("{name} has not been reached yet")),
        }
    }

    /// What the ring waits for, as the rest of a sentence. It does not change while time passes: a status that did would be written all the time.
    fn settling(&self) -> String {
        let waits = self.settlement.waits.as_ref().map(|wait| format!(": {wait}")).unwrap_or_default();
        format!("{waits}{}", self.crowd())
    }

    fn crowd(&self) -> String {
        if !self.held.is_crowded() {
            return String::new();
        }
        let earlier = self.held.snapshot.priors().len();
        format!(
            "; {earlier} earlier memberships bind, as many as may: members change again when one has settled"
        )
    }

    fn unmade(&self) -> Option<(&'static str, String)> {
        let first = self.unmade.first()?;
        let texts: Vec<&str> = self.unmade.iter().map(|problem| problem.text.as_str()).collect();
        Some((first.reason, texts.join("; ")))
    }

    fn first_problem(&self) -> Option<(&'static str, String)> {
        self.unmade().or_else(|| self.first_of_pods())
    }

    fn first_of_pods(&self) -> Option<(&'static str, String)> {
        let mut problems = self.pods.iter().filter_map(|pod| pod.problem.as_ref().map(|p| (pod, p)));
        let (pod, problem) = problems.next()?;
        let more = problems.count();
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        Some((problem.reason, format!("{} {}{more}", pod.name, problem.text)))
    }

    fn missing(&self) -> String {
        format!("{} look gone but are most of the ring; kept until it is certain", self.guarded.join(", "))
    }
}

fn subject(names: &[&str]) -> String {
    let verb = if names.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", names.join(", "))
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

mod loaders;
mod paused;
mod secured;
mod served;

pub use paused::Pause;

#[cfg(test)]
mod tests;
