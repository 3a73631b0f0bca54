//! What the pods themselves say: which are ready, which run an old template, which cannot start and why. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::names;

/// How long a kill for lack of memory is told after the container runs again.
const MEMORY_KILL_IS_NEWS: jiff::SignedDuration = jiff::SignedDuration::from_mins(10);
/// Label that names the template a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";
/// Longest text taken from a pod's status.
const MAX_TEXT: usize = 300;

/// One pod, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The template it was made from.
    pub revision: String,
    /// Its readiness probe passes.
    pub ready: bool,
    /// It is being stopped.
    pub terminating: bool,
    /// It was made for a CacheCluster of this name that was deleted without its pods, and refuses what this one says.
    pub stray: bool,
    /// Why it does not run.
    pub problem: Option<Problem>,
}

/// Why a pod does not run, or cannot even be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// One of the reasons of the condition Degraded.
    pub reason: &'static str,
    /// What happened, in words.
    pub text: String,
}

/// The image cannot be had.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// The memory limit is too small.
pub const OUT_OF_MEMORY: &str = "OutOfMemory";
/// The process ends again and again.
pub const CRASHING: &str = "Crashing";
/// No machine takes the pod.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// The machine cannot make the container.
pub const CONTAINER_FAILED: &str = "ContainerFailed";
/// An object of somebody else has the name of one of the cluster's.
pub const NAME_TAKEN: &str = "NameTaken";
/// The API server refuses one of the cluster's objects.
pub const OBJECT_REFUSED: &str = "ObjectRefused";

/// The facts about a pod of the cluster with this uid.
#[must_use]
pub fn facts(pod: &Pod, cluster_uid: &str, now: Timestamp) -> PodFacts {
    PodFacts {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        revision: pod.labels().get(REVISION_LABEL).cloned().unwrap_or_default(),
        ready: condition(pod, "Ready").is_some_and(|(status, ..)| status == "True"),
        terminating: pod.metadata.deletion_timestamp.is_some(),
        stray: is_stray(pod, cluster_uid),
        problem: problem(pod, now),
    }
}

/// True if it was made for another CacheCluster of this name, by whose memberships alone it acts.
#[must_use]
pub fn is_stray(pod: &Pod, cluster_uid: &str) -> bool {
    pod.annotations().get(names::CLUSTER_UID).is_some_and(|uid| uid != cluster_uid)
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((&found.status, found.reason.as_deref().unwrap_or(""), found.message.as_deref().unwrap_or("")))
}

fn problem(pod: &Pod, now: Timestamp) -> Option<Problem> {
    if let Some(("False", "Unschedulable", message)) = condition(pod, "PodScheduled") {
        return Some(Problem { reason: UNSCHEDULABLE, text: clipped(message) });
    }
    pod.status.as_ref()?.container_statuses.iter().flatten().find_map(|status| in_container(status, now))
}

fn in_container(status: &ContainerStatus, now: Timestamp) -> Option<Problem> {
    let ended = [status.state.as_ref(), status.last_state.as_ref()]
        .into_iter()
        .find_map(|state| state?.terminated.as_ref());
    if let Some(ended) = ended.filter(|ended| ended.reason.as_deref() == Some("OOMKilled")) {
        let news = ended.finished_at.as_ref().is_none_or(|at| now.duration_since(at.0) < MEMORY_KILL_IS_NEWS);
        if news || !status.ready {
            let text = "was killed for using more than resources.limits.memory; raise it, or lower memory.cachePercent";
            return Some(Problem { reason: OUT_OF_MEMORY, text: text.to_owned() });
        }
    }
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let kind = waiting.reason.as_deref()?;
    let message = waiting.message.as_deref().unwrap_or("");
    let reason = match kind {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => IMAGE_PULL_FAILED,
        "CrashLoopBackOff" => CRASHING,
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => CONTAINER_FAILED,
        _ => return None,
    };
    let text = match ended.filter(|_| reason == CRASHING) {
        Some(ended) => {
            let last = ended.message.as_deref().unwrap_or("see its log");
            format!("ends again and again with exit code {}: {last}", ended.exit_code)
        }
        None => format!("{kind}: {message}"),
    };
    Some(Problem { reason, text: clipped(&text) })
}

/// A text of somebody else's, bounded.
#[must_use]
pub fn clipped(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(status: &serde_json::Value) -> PodFacts {
        let pod = json!({"metadata": {"name": "c-0", "uid": "u", "labels": {REVISION_LABEL: "c-1"}}, "status": status});
        facts(
            &serde_json::from_value(pod).expect("a pod"),
            "uid",
            "2026-01-01T00:10:00Z".parse().expect("a time"),
        )
    }

    fn waiting(reason: &str) -> serde_json::Value {
        json!({"containerStatuses": [{"name": "cache", "ready": false, "restartCount": 3, "image": "i", "imageID": "",
            "state": {"waiting": {"reason": reason, "message": "because"}},
            "lastState": {"terminated": {"exitCode": 2, "reason": "Error", "message": "bad flag"}}}]})
    }

    #[test]
    fn what_keeps_a_pod_from_running_is_named() {
        let unschedulable = json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes"}]});
        let table = [
            (waiting("ImagePullBackOff"), Some((IMAGE_PULL_FAILED, "ImagePullBackOff: because"))),
            (
                waiting("CrashLoopBackOff"),
                Some((CRASHING, "ends again and again with exit code 2: bad flag")),
            ),
            (
                waiting("CreateContainerConfigError"),
                Some((CONTAINER_FAILED, "CreateContainerConfigError: because")),
            ),
            (waiting("ContainerCreating"), None),
            (unschedulable, Some((UNSCHEDULABLE, "0/2 nodes"))),
            (json!({}), None),
        ];
        for (status, expected) in table {
            let problem = read(&status).problem;
            assert_eq!(problem.as_ref().map(|p| (p.reason, p.text.as_str())), expected, "{status}");
        }
    }

    #[test]
    fn a_kill_for_memory_is_told_for_a_while_and_then_forgotten() {
        let killed = |ready: bool, at: &str| {
            json!({"containerStatuses": [{"name": "cache", "ready": ready, "restartCount": 1, "image": "i", "imageID": "",
                "state": {"running": {}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": at}}}]})
        };
        let reason = |status: serde_json::Value| read(&status).problem.map(|p| p.reason);
        assert_eq!(reason(killed(true, "2026-01-01T00:05:00Z")), Some(OUT_OF_MEMORY));
        assert_eq!(reason(killed(true, "2025-12-31T23:00:00Z")), None);
        assert_eq!(reason(killed(false, "2025-12-31T23:00:00Z")), Some(OUT_OF_MEMORY));
    }
}
