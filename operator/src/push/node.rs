//! One pod's task: send the newest snapshot, note the answer, wait for a newer one or for the time to ask again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{ApplyOutcome, ApplyRequest, ApplyResponse, LoaderReach, LoaderState};
use groupcache_proto::convert;
use groupcache_tls::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Endpoint};

use crate::metrics::{Metrics, PushResult};
use crate::names::Key;
use crate::push::{Published, Target};
use crate::report::{Applied, Reach, Refusal, Report, Reports};

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is asked for a sign of life, and how long it may take to give one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));
/// Pause before a node that acknowledged is told again, half to all of it.
const TELL_AGAIN: Duration = Duration::from_secs(5);
/// Pause after the first failure, half to all of it; it doubles up to [`TELL_AGAIN`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Largest answer: a version, faults in words, and how every group's loader does.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Most faults that are kept of a refusal, and the longest text of one.
const MAX_FAULTS: (usize, usize) = (8, 300);
/// Most loaders that a node may speak of: one for each group there can be.
const MAX_LOADERS: usize = 64;

pub(super) struct Task {
    pub(super) key: Key,
    pub(super) target: Target,
    pub(super) newest: watch::Receiver<Option<Arc<Published>>>,
    pub(super) reports: Reports,
    pub(super) wakes: mpsc::Sender<Key>,
    pub(super) metrics: Metrics,
}

impl Task {
    /// Runs until nobody publishes any more, or it is aborted.
    pub(super) async fn run(mut self) {
        let Some(channel) = connect(&self.target) else { return };
        let mut client = ClusterServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut backoff = FIRST_PAUSE;
        loop {
            let published = self.newest.borrow_and_update().clone();
            let mut pause = TELL_AGAIN;
            if let Some(published) = published {
                match self.tell(&mut client, &published).await {
                    Told::Answered => backoff = FIRST_PAUSE,
                    Told::Failed => {
                        pause = backoff;
                        backoff = (backoff * 2).min(TELL_AGAIN);
                    }
                }
            }
            // A newer snapshot cuts the pause short; nothing is lost if the pause is dropped.
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                changed = self.newest.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn tell(&self, client: &mut ClusterServiceClient<Channel>, published: &Published) -> Told {
        let request = ApplyRequest {
            snapshot: Some(published.snapshot.clone()),
            expected_node: self.target.name.clone(),
            expected_pod_uid: self.target.pod_uid.clone(),
        };
        let answer = match tokio::time::timeout(ANSWER_TIMEOUT, client.apply(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), clipped(status.message()))),
            Err(_) => Err(format!("no answer within {} s", ANSWER_TIMEOUT.as_secs())),
        };
        let (told, result) = match &answer {
            Err(_) => (Told::Failed, PushResult::Unreachable),
            Ok(answer) => match answer.outcome() {
                ApplyOutcome::Adopted | ApplyOutcome::Unchanged => (Told::Answered, PushResult::Acknowledged),
                ApplyOutcome::Older => (Told::Answered, PushResult::Older),
                ApplyOutcome::Refused | ApplyOutcome::Unspecified => (Told::Failed, PushResult::Refused),
            },
        };
        self.metrics.pushed(result);
        if self.reports.note(&self.target.pod_uid, |report| note(report, published, answer)) {
            tracing::debug!(node = %self.target.name, version = %published.version, ?result, "a node has answered");
            // A full queue means that the reconciler is about to look anyway.
            let _ = self.wakes.try_send(self.key.clone());
        }
        told
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Answered,
    Failed,
}

fn note(report: &mut Report, published: &Published, answer: Result<ApplyResponse, String>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            report.unreachable = Some(error);
            return;
        }
    };
    report.unreachable = None;
    report.applied = Some(Applied {
        version: convert::version(answer.version.as_ref()),
        ring_hash: answer.ring_hash,
        boot: answer.boot,
    });
    report.shown = Some((answer.certificate.clone(), answer.authorities.clone()));
    report.loaders = loaders(&answer, &report.loaders);
    report.refusal = match answer.outcome() {
        ApplyOutcome::Refused | ApplyOutcome::Unspecified => {
            let faults = answer.faults.iter().take(MAX_FAULTS.0).map(|fault| clipped(fault)).collect();
            Some(Refusal { version: published.version, faults })
        }
        _ => None,
    };
}

fn loaders(
    answer: &ApplyResponse,
    before: &BTreeMap<(String, String), Reach>,
) -> BTreeMap<(String, String), Reach> {
    let reach = |state: &LoaderState| {
        let name = (clipped(&state.group), clipped(&state.loader));
        let reach = match (state.reach(), before.get(&name)) {
            (LoaderReach::Unspecified | LoaderReach::NotAsked, _) => Reach::NotAsked,
            (LoaderReach::Answers, _) => Reach::Answers,
            (LoaderReach::Fails, Some(failing @ Reach::Fails(_))) => failing.clone(),
            (LoaderReach::Fails, _) => Reach::Fails(clipped(&state.failure)),
        };
        (name, reach)
    };
    answer.loaders.iter().take(MAX_LOADERS).map(reach).collect()
}

fn clipped(text: &str) -> String {
    text.chars().take(MAX_FAULTS.1).collect()
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}

/// The connection opens when it is first used, and again after it was lost.
fn connect(target: &Target) -> Option<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", target.address)).ok()?;
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true);
    let Some(keeper) = target.keeper.clone() else { return Some(endpoint.connect_lazy()) };
    let address = target.address.clone();
    let dial = move |_: http::Uri| {
        let (keeper, address) = (keeper.clone(), address.clone());
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            handshake::connect(&keeper, tcp).await.map(TokioIo::new).map_err(std::io::Error::other)
        }
    };
    Some(endpoint.connect_with_connector_lazy(tower::service_fn(dial)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_failure_of_a_loader_that_fails_is_no_news() {
        let said = |reach: LoaderReach, failure: &str| {
            let (group, loader) = ("users".to_owned(), "people".to_owned());
            let state = LoaderState { group, loader, reach: reach.into(), failure: failure.to_owned() };
            ApplyResponse { loaders: vec![state], ..ApplyResponse::default() }
        };
        let first = loaders(&said(LoaderReach::Fails, "first"), &BTreeMap::new());
        assert_eq!(first.values().next(), Some(&Reach::Fails("first".to_owned())));
        assert_eq!(loaders(&said(LoaderReach::Fails, "second"), &first), first);
        let well = loaders(&said(LoaderReach::Answers, ""), &first);
        assert_eq!(well.values().next(), Some(&Reach::Answers));
        assert_eq!(
            loaders(&said(LoaderReach::Fails, "second"), &well).values().next(),
            Some(&Reach::Fails("second".to_owned()))
        );
    }
}
