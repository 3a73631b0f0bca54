//! Which pod to replace next when the pod template has changed: one at a time, and only from a ring at rest. Pure.

use crate::pods::PodFacts;

/// What the choice is made from.
#[derive(Clone, Copy, Debug)]
pub struct Rollout<'a> {
    /// The cluster's pods.
    pub pods: &'a [PodFacts],
    /// The template that pods should be made from; `None`: the StatefulSet has not looked at the newest one yet.
    pub update_revision: Option<&'a str>,
    /// How many pods there are meant to be.
    pub replicas: usize,
    /// Everyone agrees on the ring, nobody joins or leaves, and it has been so for long enough.
    pub at_rest: bool,
}

impl Rollout<'_> {
    /// The pods that run an old template.
    pub fn outdated(&self) -> impl Iterator<Item = &PodFacts> {
        let current = self.update_revision;
        self.pods.iter().filter(move |pod| !pod.terminating && current.is_some_and(|now| pod.revision != now))
    }

    /// The pods that run the newest template.
    fn updated(&self) -> impl Iterator<Item = &PodFacts> {
        self.pods.iter().filter(|pod| self.update_revision == Some(pod.revision.as_str()))
    }

    /// The pod to evict now, if any.
    ///
    /// A pod of a deleted cluster does not wait for the ring. A pod that cannot start goes first and waits for nobody: it holds no keys, and a rollout must get past it. Of the
    /// others the last by ordinal goes, as StatefulSets do.
    #[must_use]
    pub fn next(&self) -> Option<&PodFacts> {
        if self.pods.iter().any(|pod| pod.terminating) {
            return None;
        }
        // As long as the newest template has not shown that it runs, nobody else is given to it.
        if self.updated().all(|pod| pod.ready)
            && let Some(broken) = self.outdated().find(|pod| !pod.ready && pod.problem.is_some())
        {
            return Some(broken);
        }
        let everyone_ready = self.pods.len() == self.replicas && self.pods.iter().all(|pod| pod.ready);
        let ordinal = |pod: &&PodFacts| pod.name.rsplit('-').next().and_then(|n| n.parse::<u32>().ok());
        if !everyone_ready {
            return None;
        }
        // The ring never comes to rest with a pod in it that refuses it.
        if let Some(stray) = self.outdated().filter(|pod| pod.stray).max_by_key(ordinal) {
            return Some(stray);
        }
        if self.at_rest { self.outdated().max_by_key(ordinal) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::{IMAGE_PULL_FAILED, Problem};

    fn pod(name: &str) -> PodFacts {
        PodFacts {
            name: name.into(),
            uid: name.into(),
            revision: "old".into(),
            ready: true,
            terminating: false,
            stray: false,
            problem: None,
        }
    }

    trait Adjectives {
        fn updated(self) -> Self;
        fn unready(self) -> Self;
        fn broken(self) -> Self;
        fn terminating(self) -> Self;
    }

    impl Adjectives for PodFacts {
        fn updated(self) -> Self {
            PodFacts { revision: "new".into(), ..self }
        }
        fn unready(self) -> Self {
            PodFacts { ready: false, ..self }
        }
        fn broken(self) -> Self {
            let problem = Problem { reason: IMAGE_PULL_FAILED, text: String::new() };
            PodFacts { ready: false, problem: Some(problem), ..self }
        }
        fn terminating(self) -> Self {
            PodFacts { terminating: true, ..self }
        }
    }

    #[test]
    fn one_pod_goes_at_a_time_and_only_from_a_ring_at_rest() {
        let check = |pods: &[PodFacts], at_rest: bool, expected: Option<&str>| {
            let rollout = Rollout { pods, update_revision: Some("new"), replicas: 3, at_rest };
            assert_eq!(rollout.next().map(|pod| pod.name.as_str()), expected, "{pods:#?}");
        };
        check(&[pod("c-0"), pod("c-1"), pod("c-2")], true, Some("c-2"));
        check(&[pod("c-0"), pod("c-1"), pod("c-2").updated()], true, Some("c-1"));
        check(&[pod("c-0"), pod("c-1"), pod("c-2").updated()], false, None);
        check(&[pod("c-0"), pod("c-1"), pod("c-2").updated().unready()], true, None);
        check(&[pod("c-0"), pod("c-1"), pod("c-2").terminating()], true, None);
        check(&[pod("c-0"), pod("c-1")], true, None);
        check(&[pod("c-0").updated(), pod("c-1").updated(), pod("c-2").updated()], true, None);
    }

    #[test]
    fn a_pod_that_cannot_start_goes_first_and_waits_for_nobody() {
        let check = |pods: &[PodFacts], expected: Option<&str>| {
            let rollout = Rollout { pods, update_revision: Some("new"), replicas: 3, at_rest: false };
            assert_eq!(rollout.next().map(|pod| pod.name.as_str()), expected, "{pods:#?}");
        };
        check(&[pod("c-0"), pod("c-1").broken(), pod("c-2")], Some("c-1"));
        check(&[pod("c-0"), pod("c-1").updated().broken(), pod("c-2")], None);
        check(&[pod("c-0"), pod("c-1").unready(), pod("c-2")], None);
    }

    /// Turned red by: a pod that fails under load, which is given to a template that cannot run either: then the load is the next one's.
    #[test]
    fn a_broken_template_takes_one_pod_and_no_other_that_breaks_meanwhile() {
        let check = |pods: &[PodFacts], expected: Option<&str>| {
            let rollout = Rollout { pods, update_revision: Some("new"), replicas: 3, at_rest: false };
            assert_eq!(rollout.next().map(|pod| pod.name.as_str()), expected, "{pods:#?}");
        };
        check(&[pod("c-0").broken(), pod("c-1"), pod("c-2").updated().broken()], None);
        check(&[pod("c-0").broken(), pod("c-1"), pod("c-2").updated().unready()], None);
        check(&[pod("c-0").broken(), pod("c-1"), pod("c-2").updated()], Some("c-0"));
    }

    #[test]
    fn nobody_goes_before_the_statefulset_has_seen_the_template() {
        let pods = [pod("c-0")];
        let rollout = Rollout { pods: &pods, update_revision: None, replicas: 1, at_rest: true };
        assert_eq!(rollout.next(), None);
    }

    #[test]
    fn pods_of_a_deleted_cluster_go_one_at_a_time_though_the_ring_never_rests() {
        let stray = |name: &str| PodFacts { stray: true, ..pod(name) };
        let check = |pods: &[PodFacts], expected: Option<&str>| {
            let rollout = Rollout { pods, update_revision: Some("new"), replicas: 2, at_rest: false };
            assert_eq!(rollout.next().map(|pod| pod.name.as_str()), expected, "{pods:#?}");
        };
        check(&[stray("c-0"), stray("c-1")], Some("c-1"));
        check(&[stray("c-0"), pod("c-1").updated().unready()], None);
        check(&[stray("c-0"), pod("c-1").updated()], Some("c-0"));
    }
}
