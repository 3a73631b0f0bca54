//! What `kubectl describe` tells: one event for each turn that matters, never one per reconcile.

use groupcache_crds::CacheCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::runtime::events::{Event, EventType, Recorder};

use crate::conditions::{
    AVAILABLE, CERTIFICATES_READY, CONFIGURATION_APPLIED, DEGRADED, LOADERS_REACHABLE, PAUSED, reason,
};

/// Longest note of an event that the API server takes.
const MAX_NOTE: usize = 1000;

/// Tells what has turned between two states of the conditions.
pub async fn tell_turns(recorder: &Recorder, cluster: &CacheCluster, now: &[Condition]) {
    let before = cluster.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    for (type_, condition) in turns(before, now) {
        let event = Event {
            type_,
            reason: condition.reason.clone(),
            note: Some(condition.message.chars().take(MAX_NOTE).collect()),
            action: condition.type_.clone(),
            secondary: None,
        };
        tell(recorder, cluster, &event).await;
    }
}

/// Tells one thing. An event that cannot be written is logged and forgotten: nothing waits for it.
pub async fn tell(recorder: &Recorder, cluster: &CacheCluster, event: &Event) {
    if let Err(error) = recorder.publish(event, &cluster.object_ref(&())).await {
        tracing::warn!(%error, reason = %event.reason, "an event could not be written");
    }
}

/// The conditions that have turned and matter, and how loud to say it.
fn turns<'a>(before: &[Condition], now: &'a [Condition]) -> Vec<(EventType, &'a Condition)> {
    let turned = now.iter().filter(|condition| {
        let held = before.iter().find(|held| held.type_ == condition.type_);
        held.map(|held| (&held.status, &held.reason)) != Some((&condition.status, &condition.reason))
    });
    turned.filter_map(|condition| how_loud(before, condition).map(|type_| (type_, condition))).collect()
}

fn how_loud(before: &[Condition], condition: &Condition) -> Option<EventType> {
    let held = before.iter().find(|held| held.type_ == condition.type_);
    let was = |status: &str| held.is_some_and(|held| held.status == status);
    match (condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()) {
        (AVAILABLE, "True", _) if !was("True") => Some(EventType::Normal),
        (AVAILABLE, "False", reason::NO_NODE_SERVES) if was("True") => Some(EventType::Warning),
        (DEGRADED, "True", _) => Some(EventType::Warning),
        (DEGRADED, "False", _) if was("True") => Some(EventType::Normal),
        (LOADERS_REACHABLE, "False", _) => Some(EventType::Warning),
        (LOADERS_REACHABLE, "True", _) if was("False") => Some(EventType::Normal),
        (CONFIGURATION_APPLIED, "False", reason::INVALID | reason::REFUSED | reason::SECRET_PENDING)
        | (CERTIFICATES_READY, "False", _) => Some(EventType::Warning),
        (CERTIFICATES_READY, "True", _) if was("False") => Some(EventType::Normal),
        (PAUSED, "True", _) => Some(EventType::Normal),
        (PAUSED, "False", _) if was("True") => Some(EventType::Normal),
        (CONFIGURATION_APPLIED, "True", _) if !was("True") => Some(EventType::Normal),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn only_turns_that_matter_are_told_and_only_once() {
        let serving = condition(AVAILABLE, "True", reason::SERVING);
        let down = condition(AVAILABLE, "False", reason::NO_NODE_SERVES);
        let pulling = condition(DEGRADED, "True", crate::pods::IMAGE_PULL_FAILED);
        let killed = condition(DEGRADED, "True", crate::pods::OUT_OF_MEMORY);
        let told = |before: Option<&Condition>, now: &Condition| {
            let before: Vec<Condition> = before.into_iter().cloned().collect();
            let now = std::slice::from_ref(now);
            turns(&before, now).into_iter().map(|(type_, c)| (type_, c.reason.clone())).collect::<Vec<_>>()
        };
        let one = |type_, reason: &str| vec![(type_, reason.to_owned())];
        assert_eq!(told(None, &down), []);
        assert_eq!(told(Some(&down), &serving), one(EventType::Normal, "Serving"));
        assert_eq!(told(Some(&serving), &serving), []);
        assert_eq!(told(Some(&serving), &down), one(EventType::Warning, "NoNodeServes"));
        assert_eq!(told(Some(&pulling), &pulling), []);
        assert_eq!(told(Some(&pulling), &killed), one(EventType::Warning, "OutOfMemory"));
    }
}
