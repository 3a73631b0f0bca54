//! The operator's hand: what it publishes is pushed by Apply, over the wire, and the answers are counted.

use std::sync::Arc;
use std::time::Duration;

use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{self, ApplyOutcome, ApplyRequest, Configuration};
use groupcache_proto::convert;
use groupcache_ring::{Snapshot, Version};
use groupcache_sim::plan::{GROUP, Plan};
use groupcache_sim::shared::{Shared, name};
use http::Uri;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::door;
use crate::wire::CLUSTER_PORT;

/// How long a push may take.
const PUSH: Duration = Duration::from_millis(800);

/// How much longer the judges take a window to be than it is: a call and what it causes travel.
pub const ON_THE_WAY: u64 = 30;

/// A snapshot for one pod.
#[derive(Debug)]
pub struct Push {
    /// Its number.
    pub call: u64,
    /// Where the pod is.
    pub place: usize,
    /// The pod that is meant.
    pub uid: String,
    /// What it is to adopt.
    pub snapshot: Arc<Snapshot>,
}

/// What a pod has in force after a push.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    /// The push's number.
    pub call: u64,
    /// Where the pod is.
    pub place: usize,
    /// The version in force.
    pub version: Version,
}

/// The answers that have come.
pub type Answers = Arc<Mutex<Vec<Pushed>>>;

/// Pushes what it is given, for as long as there is more.
///
/// # Errors
/// Never: what is not answered is pushed again.
pub async fn run(
    shared: Arc<Shared>,
    mut pushes: mpsc::UnboundedReceiver<Push>,
    answers: Answers,
) -> turmoil::Result {
    while let Some(push) = pushes.recv().await {
        let (shared, answers) = (Arc::clone(&shared), Arc::clone(&answers));
        tokio::spawn(async move {
            let (call, place) = (push.call, push.place);
            if let Ok(Some(version)) = timeout(PUSH, apply(&shared, push)).await {
                answers.lock().push(Pushed { call, place, version });
            }
        });
    }
    Ok(())
}

async fn apply(shared: &Shared, push: Push) -> Option<Version> {
    let target = name(push.place);
    let door = door::open(&target, CLUSTER_PORT).await.ok()?;
    let mut client = ClusterServiceClient::with_origin(door, Uri::from_static("http://node"));
    let snapshot = convert::snapshot_to_wire(&push.snapshot, configuration(&shared.plan));
    let request = ApplyRequest {
        snapshot: Some(convert::unsigned(&snapshot)),
        expected_node: target,
        expected_pod_uid: push.uid,
        ..ApplyRequest::default()
    };
    let answer = client.apply(request).await.ok()?.into_inner();
    let unfit = |fault: &String| !fault.starts_with("this is the pod");
    if answer.outcome() == ApplyOutcome::Refused {
        if answer.faults.iter().any(unfit) {
            let what = format!("n{} refused a snapshot: {:?}", push.place, answer.faults);
            shared.judge.lock().broken(shared.now(), "adopt", what);
        }
        return None;
    }
    Some(convert::version(answer.version.as_ref()))
}

/// What every node is configured as.
fn configuration(plan: &Plan) -> Configuration {
    let settings = plan.settings();
    let kind = cluster::loader::Kind::Grpc(cluster::GrpcLoader {
        target: "in-this-process:1".into(),
        authority: String::new(),
    });
    Configuration {
        groups: vec![cluster::Group {
            name: GROUP.into(),
            loader: "source".into(),
            max_bytes: settings.max_bytes,
            hot_percent: settings.hot_percent,
            ttl_ms: plan.ttl.unwrap_or(0),
            stale_while_revalidate_ms: plan.stale,
            stale_if_error_ms: plan.stale,
            early_refresh_percent: plan.early,
            ..cluster::Group::default()
        }],
        loaders: vec![cluster::Loader {
            name: "source".into(),
            kind: Some(kind),
            timeout_ms: 2750,
            // Its own tests show what a breaker does; here it would outlive the trouble.
            circuit_breaker: Some(cluster::CircuitBreaker {
                failure_percent: 100,
                window_seconds: 1,
                open_seconds: 1,
            }),
            ..cluster::Loader::default()
        }],
        staleness_bound_ms: plan.bound,
        purge_timeout_ms: plan.window - ON_THE_WAY,
        access: None,
    }
}
