//! Makes, repairs and removes a cluster's PodMonitor, whose kind may not exist and is therefore not watched.

use groupcache_crds::CacheCluster;
use kube::{Api, Client, ResourceExt};

use crate::plan::monitor::PodMonitor;
use crate::pods::{OBJECT_REFUSED, Problem};
use crate::{applied, apply, names, orphans, ownership};

/// What is known of it from the looks before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Known {
    /// Nothing: this process has not looked yet.
    #[default]
    Nothing,
    /// There is none of ours.
    Absent,
    /// It was as it should be, and this is the fingerprint of it and of what was asked for.
    Made(u64, u64),
}

/// Makes it what it should be. While nobody asks for one this costs one request in the life of the process, and one a look while somebody does.
///
/// # Errors
/// If the API server does not answer, or another writer was faster.
pub async fn tend(
    client: &Client,
    cluster: &CacheCluster,
    wanted: Option<&PodMonitor>,
    known: &mut Known,
) -> kube::Result<Option<Problem>> {
    if wanted.is_none() && *known == Known::Absent {
        return Ok(None);
    }
    let api: Api<PodMonitor> = Api::namespaced(client.clone(), &cluster.namespace().unwrap_or_default());
    let held = match api.get_opt(&names::base(cluster)).await {
        Err(error) if is_no_kind(&error) => None,
        held => held?,
    };
    let Some(wanted) = wanted else {
        if let Some(held) = held.filter(|held| ownership::stranger(&held.metadata, cluster).is_none()) {
            orphans::one(client, &held).await?;
        }
        *known = Known::Absent;
        return Ok(None);
    };
    let asked = applied::mark(wanted).1;
    if held.is_some_and(|held| *known == Known::Made(asked, applied::mark(&held).1)) {
        return Ok(None);
    }
    match apply::one(client, cluster, wanted).await {
        Ok(Ok(made)) => {
            *known = Known::Made(asked, applied::mark(&made).1);
            Ok(None)
        }
        Ok(Err(problem)) => Ok(Some(problem)),
        Err(error) if is_no_kind(&error) => {
            let text = format!(
                "PodMonitor {}: there is no such kind here; install the Prometheus operator, or set spec.monitoring.podMonitor.mode to Disabled",
                wanted.name_any()
            );
            Ok(Some(Problem { reason: OBJECT_REFUSED, text }))
        }
        Err(error) => Err(error),
    }
}

/// Of a kind that is not served the API server says so in plain text, not in a Status with a reason.
fn is_no_kind(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::client::Body;

    use super::*;
    use crate::plan::monitor::monitor;

    /// An API server that does not know the kind.
    fn client() -> Client {
        let service = tower::service_fn(|_: http::Request<Body>| async {
            let answer =
                http::Response::builder().status(404).header("content-type", "text/plain; charset=utf-8");
            Ok::<_, Infallible>(
                answer.body(Body::from(b"404 page not found\n".to_vec())).expect("a response"),
            )
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_kind_that_is_not_served_stops_nobody_and_is_told_to_who_asks_for_it() {
        let mut cluster = CacheCluster::new("c", serde_json::from_str("{}").expect("a spec"));
        cluster.metadata.namespace = Some("shop".into());
        let mut known = Known::default();
        assert_eq!(tend(&client(), &cluster, None, &mut known).await.expect("an answer"), None);
        assert_eq!(known, Known::Absent);

        let asks = r#"{"monitoring": {"podMonitor": {"mode": "Managed"}}}"#;
        cluster.spec = serde_json::from_str(asks).expect("a spec");
        let problem =
            tend(&client(), &cluster, monitor(&cluster).as_ref(), &mut known).await.expect("an answer");
        let problem = problem.expect("it is told");
        assert!(problem.text.starts_with("PodMonitor c: there is no such kind here"), "{}", problem.text);
    }
}
