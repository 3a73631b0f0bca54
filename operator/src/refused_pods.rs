//! Pods that may not even be made: a quota, a policy or a missing priority class; only the StatefulSet's events tell.

use std::time::Duration;

use groupcache_crds::CacheCluster;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use tokio::time::Instant;

use crate::pods::{self, OBJECT_REFUSED, Problem};

/// So long pods are missing before it is asked why: in a rollout each is, for a moment.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a StatefulSet tells of a pod that could not be made.
const FAILED: &str = "FailedCreate";
/// And of one that was.
const MADE: &str = "SuccessfulCreate";
/// Events that are read at most.
const MOST_EVENTS: u32 = 200;

/// Why pods are missing, where the StatefulSet has said so since it last made one. `since` remembers when the first look was that missed them.
///
/// # Errors
/// If the API server does not answer.
pub async fn look(
    client: &Client,
    cluster: &CacheCluster,
    statefulset: &StatefulSet,
    missing: bool,
    since: &mut Option<Instant>,
) -> kube::Result<Option<Problem>> {
    let Some(uid) = statefulset.uid().filter(|_| missing) else {
        *since = None;
        return Ok(None);
    };
    if since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
        return Ok(None);
    }
    let events: Api<Event> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let of_it = format!("regarding.uid={uid}");
    let found = events.list(&ListParams::default().fields(&of_it).limit(MOST_EVENTS)).await?;
    Ok(refusal(&found.items))
}

/// The newest word on pods, if it is that one could not be made.
fn refusal(events: &[Event]) -> Option<Problem> {
    let told = |event: &&Event| matches!(event.reason.as_deref(), Some(FAILED | MADE));
    let newest = events.iter().filter(told).max_by_key(|event| told_at(event))?;
    let text = newest.note.as_deref().filter(|_| newest.reason.as_deref() == Some(FAILED))?;
    Some(Problem { reason: OBJECT_REFUSED, text: pods::clipped(text) })
}

/// When it was told last: events of the same are one that counts.
fn told_at(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().map(|series| series.last_observed_time.0);
    let legacy = event.deprecated_last_timestamp.as_ref().map(|time| time.0);
    let made = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    [series, event.event_time.as_ref().map(|time| time.0), legacy, made].into_iter().flatten().max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(reason: &str, second: u32) -> Event {
        let event = json!({
            "metadata": {"name": format!("{reason}{second}"), "creationTimestamp": "2026-01-01T00:00:00Z"},
            "eventTime": null,
            "deprecatedLastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
            "reason": reason,
            "note": format!("{reason} at {second}"),
        });
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn the_newest_word_counts_and_others_than_those_on_pods_do_not() {
        let told = |events: &[Event]| refusal(events).map(|problem| problem.text);
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[event(MADE, 1), event(FAILED, 2)]).as_deref(), Some("FailedCreate at 2"));
        assert_eq!(told(&[event(FAILED, 3), event(MADE, 4)]), None, "it was made after all");
        let later = [event(FAILED, 3), event("FailedDelete", 9), event(MADE, 1)];
        assert_eq!(told(&later).as_deref(), Some("FailedCreate at 3"));
    }
}
