//! Worlds with one thing wrong, and the conditions that must say so.

mod loaders;
mod paused;
mod pending;
mod served;
mod settling;
mod unmade;

use groupcache_proto::cluster::Configuration;
use groupcache_ring::{Prior, Snapshot, Version};
use serde_json::json;

use super::*;
use crate::ledger::settle::Wait;
use crate::pods::{IMAGE_PULL_FAILED, Problem};
use crate::report::{Applied, Refusal};

const V: Version = Version::new(2, 4);

/// A cluster of three in which all is well.
struct World {
    cluster: CacheCluster,
    statefulset: StatefulSet,
    pods: Vec<PodFacts>,
    outdated: usize,
    endpoints: Vec<Endpoint>,
    members: Vec<Member>,
    configuration: Configuration,
    reports: HashMap<String, Report>,
    guarded: Vec<String>,
    unmade: Vec<Problem>,
    pending: Vec<String>,
    faults: Vec<String>,
    pause: Option<Pause>,
    settled: Version,
    priors: usize,
    waits: Option<Wait>,
    now: Timestamp,
}

impl World {
    fn well() -> Self {
        let names = ["c-0", "c-1", "c-2"];
        let spec = serde_json::from_value(json!({"replicas": 3})).expect("a spec");
        let mut cluster = CacheCluster::new("c", spec);
        cluster.metadata.generation = Some(7);
        let statefulset =
            json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1, "replicas": 3}});
        let members: Vec<Member> = names
            .iter()
            .map(|name| Member { pod_uid: (*name).into(), ..Member::active(*name, format!("{name}:8081")) })
            .collect();
        let ring_hash = Ring::new(&members).hash();
        let report =
            || Report { applied: Some(Applied { version: V, ring_hash, boot: 1 }), ..Report::default() };
        World {
            cluster,
            statefulset: serde_json::from_value(statefulset).expect("a StatefulSet"),
            pods: names.iter().map(|name| pod(name)).collect(),
            outdated: 0,
            endpoints: names.iter().map(|name| endpoint(name)).collect(),
            members,
            configuration: Configuration { staleness_bound_ms: 5000, ..Configuration::default() },
            reports: names.iter().map(|name| ((*name).to_owned(), report())).collect(),
            guarded: Vec::new(),
            unmade: Vec::new(),
            pending: Vec::new(),
            faults: Vec::new(),
            pause: None,
            settled: V,
            priors: 0,
            waits: None,
            now: "2026-01-01T00:00:00Z".parse().expect("a time"),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn status(&self) -> CacheClusterStatus {
        let prior = |n: usize| Prior {
            version: Version::new(self.settled.epoch, n as u64),
            grantors: Vec::new(),
            members: self.members.clone(),
        };
        let snapshot = Snapshot::new("uid", V, self.settled, Vec::new(), self.members.clone())
            .and_then(|snapshot| snapshot.with_priors((1..=self.priors).map(prior).collect()))
            .expect("sound");
        let held = Held {
            snapshot,
            configuration: self.configuration.clone(),
            membership_since: V,
            configuration_since: Version::new(2, 3),
            longest_bound: std::time::Duration::from_secs(5),
            seal: None,
        };
        let settlement = Settlement { settled: self.settled, waits: self.waits.clone() };
        status(&Facts {
            cluster: &self.cluster,
            image: "image:1",
            statefulset: &self.statefulset,
            pods: &self.pods,
            outdated: self.outdated,
            blocked: (self.outdated > 1).then_some("c-2 may not be evicted now"),
            endpoints: &self.endpoints,
            held: &held,
            settlement: &settlement,
            reports: &self.reports,
            guarded: &self.guarded,
            unmade: &self.unmade,
            pending: &self.pending,
            certificates: &certificates::State::Disabled,
            pause: self.pause,
            faults: &self.faults,
            now: self.now,
        })
    }

    /// `Type=Status/Reason` of every condition that differs from a world in which all is well.
    fn differs(&self) -> Vec<String> {
        let well = said(&World::well().status());
        said(&self.status()).into_iter().filter(|line| !well.contains(line)).collect()
    }

    fn message(&self, type_: &str) -> String {
        let status = self.status();
        let found = status.conditions.iter().find(|condition| condition.type_ == type_);
        found.map(|condition| condition.message.clone()).unwrap_or_default()
    }

    fn report(&mut self, uid: &str) -> &mut Report {
        self.reports.entry(uid.to_owned()).or_default()
    }
}

fn said(status: &CacheClusterStatus) -> Vec<String> {
    status.conditions.iter().map(|c| format!("{}={}/{}", c.type_, c.status, c.reason)).collect()
}

fn pod(name: &str) -> PodFacts {
    PodFacts {
        name: name.into(),
        uid: name.into(),
        revision: "r".into(),
        ready: true,
        terminating: false,
        stray: false,
        problem: None,
    }
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint {
        name: name.into(),
        pod_uid: name.into(),
        address: format!("{name}:8081"),
        zone: String::new(),
        serving: true,
        terminating: false,
    }
}

#[test]
fn when_all_is_well_every_condition_says_so() {
    let status = World::well().status();
    assert_eq!(
        said(&status),
        [
            "Available=True/Serving",
            "RingConverged=True/Converged",
            "Progressing=False/Complete",
            "Degraded=False/AsExpected",
            "ConfigurationApplied=True/Applied",
            "CertificatesReady=True/Disabled",
            "LoadersReachable=True/NoLoaders",
            "Paused=False/Managed",
        ]
    );
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (3, 3, 3));
    assert_eq!(
        status.selector.as_deref(),
        Some("app.kubernetes.io/name=groupcache,groupcache.dev/cluster=c")
    );
    let membership = status.membership.expect("a membership");
    assert_eq!((membership.epoch, membership.sequence, membership.acknowledged), (2, 4, 3));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(7)));
}

type Row = (&'static str, World, &'static [&'static str]);

fn check(table: Vec<Row>) {
    for (name, world, expected) in table {
        assert_eq!(world.differs(), expected, "{name}");
    }
}

#[test]
fn a_node_that_does_not_follow_turns_what_is_about_agreement() {
    check(vec![
        (
            "a node is one version behind in members only",
            World::well()
                .with(|w| w.report("c-1").applied.as_mut().expect("reached").version = Version::new(2, 3)),
            &["RingConverged=False/NotAcknowledged"],
        ),
        (
            "a node has not heard of the configuration",
            World::well().with(|w| w.report("c-1").applied = None),
            &["RingConverged=False/NotAcknowledged", "ConfigurationApplied=False/Pending"],
        ),
        (
            "a node refuses",
            World::well().with(|w| {
                w.report("c-1").refusal = Some(Refusal { version: V, faults: vec!["too much".into()] });
            }),
            &["RingConverged=False/NotAcknowledged", "ConfigurationApplied=False/Refused"],
        ),
        (
            "a node cannot be reached",
            World::well().with(|w| w.report("c-1").unreachable = Some("reset".into())),
            &["RingConverged=False/NotAcknowledged"],
        ),
        (
            "a node has another ring",
            World::well().with(|w| w.report("c-1").applied.as_mut().expect("reached").ring_hash = 1),
            &["RingConverged=False/RingsDiffer"],
        ),
    ]);
}

#[test]
fn pods_and_members_that_are_not_as_asked_for_turn_what_is_about_them() {
    check(vec![
        (
            "the spec is faulty",
            World::well().with(|w| w.faults = vec!["x".into()]),
            &["ConfigurationApplied=False/Invalid"],
        ),
        (
            "the spec is faulty from the first",
            World::well().with(|w| {
                w.faults = vec!["x".into()];
                w.configuration = Configuration::default();
            }),
            &["Available=False/NeverConfigured", "ConfigurationApplied=False/Invalid"],
        ),
        (
            "a node is not ready",
            World::well().with(|w| {
                w.pods[2].ready = false;
                w.endpoints[2].serving = false;
            }),
            &["Progressing=True/WaitingForPods"],
        ),
        (
            "no node is ready",
            World::well().with(|w| {
                w.pods.iter_mut().for_each(|pod| pod.ready = false);
                w.endpoints.iter_mut().for_each(|endpoint| endpoint.serving = false);
            }),
            &["Available=False/NoNodeServes", "Progressing=True/WaitingForPods"],
        ),
        (
            "an image cannot be had",
            World::well().with(|w| {
                w.pods[2].ready = false;
                w.pods[2].problem = Some(Problem { reason: IMAGE_PULL_FAILED, text: "ErrImagePull".into() });
            }),
            &["Progressing=False/Stalled", "Degraded=True/ImagePullFailed"],
        ),
        (
            "pods run an old template",
            World::well().with(|w| w.outdated = 1),
            &["Progressing=True/RollingOut"],
        ),
        (
            "the StatefulSet is behind",
            World::well().with(|w| w.statefulset.metadata.generation = Some(2)),
            &["Progressing=True/Reconciling"],
        ),
        (
            "more are wanted",
            World::well().with(|w| w.cluster.spec.replicas = 5),
            &["Progressing=True/Scaling"],
        ),
    ]);
}

#[test]
fn members_that_come_go_or_are_none_turn_what_is_about_the_ring() {
    check(vec![
        (
            "a member joins",
            World::well().with(|w| {
                w.members[2].state = State::Joining;
                let ring_hash = Ring::new(&w.members).hash();
                w.reports
                    .values_mut()
                    .for_each(|r| r.applied.as_mut().expect("reached").ring_hash = ring_hash);
            }),
            &["RingConverged=False/MembersJoining", "Progressing=True/RingChanging"],
        ),
        (
            "members are kept although they look gone",
            World::well().with(|w| w.guarded = vec!["c-1".into()]),
            &["RingConverged=False/MembersMissing", "Degraded=True/MembersMissing"],
        ),
        (
            "nothing is wanted and nothing is there",
            World::well().with(|w| {
                w.cluster.spec.replicas = 0;
                (w.pods, w.endpoints, w.members) = Default::default();
            }),
            &[
                "Available=False/ScaledToZero",
                "RingConverged=True/ScaledToZero",
                "ConfigurationApplied=Unknown/NoNodes",
            ],
        ),
        (
            "nothing is there yet",
            World::well().with(|w| (w.pods, w.endpoints, w.members) = Default::default()),
            &[
                "Available=False/NoNodeServes",
                "RingConverged=Unknown/NoNodes",
                "Progressing=True/Scaling",
                "ConfigurationApplied=Unknown/NoNodes",
            ],
        ),
    ]);
}

#[test]
fn the_laggard_and_its_reason_are_named() {
    let behind =
        |w: &mut World| w.report("c-1").applied.as_mut().expect("reached").version = Version::new(2, 2);
    assert_eq!(World::well().with(behind).message(RING_CONVERGED), "c-1 has 2.2, not 2.4");
    let gone = |w: &mut World| w.report("c-2").unreachable = Some("connection refused".into());
    assert_eq!(World::well().with(gone).message(RING_CONVERGED), "c-2 cannot be reached: connection refused");
    let refused = |w: &mut World| {
        w.report("c-0").refusal = Some(Refusal { version: V, faults: vec!["a".into(), "b".into()] });
    };
    assert_eq!(World::well().with(refused).message(CONFIGURATION_APPLIED), "c-0 refuses 2.4: a, b");
    assert_eq!(
        World::well().with(behind).with(behind).message(CONFIGURATION_APPLIED),
        "c-1 has not acknowledged 2.3 yet"
    );
}

#[test]
fn the_time_of_a_condition_is_that_of_its_last_turn() {
    let first = World::well().status();
    let later = World::well().with(|w| {
        w.cluster.status = Some(first.clone());
        w.now = "2026-01-01T01:00:00Z".parse().expect("a time");
        w.outdated = 1;
    });
    for condition in later.status().conditions {
        let turned = condition.type_ == PROGRESSING;
        let held =
            first.conditions.iter().find(|held| held.type_ == condition.type_).expect("the same conditions");
        assert_eq!(
            condition.last_transition_time != held.last_transition_time,
            turned,
            "{}",
            condition.type_
        );
    }
    let unchanged = World::well().with(|w| {
        w.cluster.status = Some(first.clone());
        w.now = "2026-01-01T01:00:00Z".parse().expect("a time");
    });
    assert_eq!(unchanged.status(), first, "nothing to write");
}

#[test]
fn a_rollout_that_may_not_go_on_says_why() {
    let world = World::well().with(|w| w.outdated = 2);
    assert_eq!(world.differs(), ["Progressing=True/RollingOut"]);
    assert_eq!(world.message("Progressing"), "2 pods run the template before; c-2 may not be evicted now");
}

#[test]
fn nobody_serves_because_all_refuse_is_told_as_that() {
    let world = World::well().with(|w| {
        w.endpoints.iter_mut().for_each(|endpoint| endpoint.serving = false);
        w.report("c-0").refusal = Some(Refusal { version: V, faults: vec!["no URL".into()] });
    });
    assert_eq!(world.message("Available"), "no node of the ring is ready: c-0 refuses 2.4: no URL");
}
