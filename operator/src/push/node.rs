//! One pod's task: send the newest snapshot, note the answer, and listen for news until there is a newer one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::{ApplyOutcome, ApplyRequest, ApplyResponse, LoaderReach, LoaderState};
use groupcache_proto::convert;
use groupcache_ring::Version;
use groupcache_tls::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::metrics::{Metrics, PushResult};
use crate::names::Key;
use crate::push::{Published, Target};
use crate::report::{Applied, Reach, Refusal, Report, Reports};
use crate::wakes::Wakes;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a silent connection is asked for a sign of life, and how long it may take to give one.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3));
/// How long a node that acknowledged may keep back an answer that is no news, half to all of it.
const LISTEN: Duration = Duration::from_secs(30);
/// Pause before a node is told again that keeps no answer back, half to all of it: it drains, has a newer membership, or is of an earlier release.
pub(super) const TELL_AGAIN: Duration = Duration::from_secs(5);
/// Between two pieces of news of one node: one that changes its mind all the time is not heard more often.
const BREATH: Duration = Duration::from_millis(500);
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
    pub(super) wakes: Wakes,
    pub(super) metrics: Metrics,
}

impl Task {
    /// Runs until nobody publishes any more, or it is aborted.
    pub(super) async fn run(mut self) {
        let Some(channel) = connect(&self.target) else { return };
        let mut client = ClusterServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let mut backoff = FIRST_PAUSE;
        // What the node acknowledged last, and the state that it told with it.
        let mut known: Option<(Version, u64)> = None;
        loop {
            let published = self.newest.borrow_and_update().clone();
            let mut pause = TELL_AGAIN;
            if let Some(published) = published {
                let known_state = known.filter(|known| known.0 == published.version).map(|known| known.1);
                let listening = known_state.map(|state| Listening { state, wait: jittered(LISTEN) });
                let began = Instant::now();
                let told = self.tell(&mut client, &published, listening);
                let told = match listening {
                    None => told.await,
                    // A node that only listens is not waited for: what is dropped then is a question, and was answered before.
                    Some(_) => tokio::select! {
                        told = told => told,
                        changed = newer(&self.newest) => if changed { continue } else { return },
                    },
                };
                pause = match told {
                    Told::Acknowledged { state } => {
                        backoff = FIRST_PAUSE;
                        known = (state != 0).then_some((published.version, state));
                        next(listening, state, began.elapsed())
                    }
                    Told::Behind => {
                        (backoff, known) = (FIRST_PAUSE, None);
                        TELL_AGAIN
                    }
                    Told::Failed => {
                        known = None;
                        let pause = backoff;
                        backoff = (backoff * 2).min(TELL_AGAIN);
                        pause
                    }
                };
            }
            // A newer snapshot cuts the pause short; nothing is lost if the pause is dropped.
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                changed = self.newest.changed() => if changed.is_err() { return },
            }
        }
    }

    async fn tell(
        &self,
        client: &mut ClusterServiceClient<Channel>,
        published: &Published,
        listening: Option<Listening>,
    ) -> Told {
        let wait = listening.map(|listening| listening.wait).unwrap_or_default();
        let request = ApplyRequest {
            snapshot: Some(published.snapshot.clone()),
            expected_node: self.target.name.clone(),
            expected_pod_uid: self.target.pod_uid.clone(),
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or_default(),
            known_state: listening.map(|listening| listening.state).unwrap_or_default(),
        };
        let limit = ANSWER_TIMEOUT + wait;
        let answer = match tokio::time::timeout(limit, client.apply(request)).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(format!("{:?}: {}", status.code(), clipped(status.message()))),
            Err(_) => Err(format!("no answer within {} s", limit.as_secs())),
        };
        let (told, result) = match &answer {
            Err(_) => (Told::Failed, PushResult::Unreachable),
            Ok(answer) => match answer.outcome() {
                ApplyOutcome::Adopted | ApplyOutcome::Unchanged => {
                    (Told::Acknowledged { state: answer.state }, PushResult::Acknowledged)
                }
                ApplyOutcome::Older => (Told::Behind, PushResult::Older),
                ApplyOutcome::Refused | ApplyOutcome::Unspecified => (Told::Failed, PushResult::Refused),
            },
        };
        self.metrics.pushed(result);
        if self.reports.note(&self.target.pod_uid, |report| note(report, published, answer)) {
            tracing::debug!(node = %self.target.name, version = %published.version, ?result, "a node has answered");
            self.wakes.wake(&self.key);
        }
        told
    }
}

/// A question that the node answers when there is something new.
#[derive(Clone, Copy, Debug)]
struct Listening {
    /// What is known.
    state: u64,
    /// How long it may take.
    wait: Duration,
}

/// Pause before the node is told or listened to again, after it answered with this state.
fn next(listening: Option<Listening>, state: u64, took: Duration) -> Duration {
    match listening {
        // A node of an earlier release tells no state: it is asked every now and then.
        None if state == 0 => TELL_AGAIN,
        None => Duration::ZERO,
        Some(listening) if listening.state != state => BREATH,
        // It answered before the time, with nothing new.
        Some(listening) if took < listening.wait / 2 => TELL_AGAIN,
        Some(_) => Duration::ZERO,
    }
}

/// Waits until there is a newer snapshot; false: nobody publishes any more.
async fn newer(newest: &watch::Receiver<Option<Arc<Published>>>) -> bool {
    // A clone: the loop itself marks what it has seen.
    newest.clone().changed().await.is_ok()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// It has what it was sent.
    Acknowledged { state: u64 },
    /// It has something newer.
    Behind,
    /// It could not be reached, or refused.
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
    fn who_has_news_is_heard_again_soon_and_who_keeps_nothing_back_is_not_asked_in_a_row() {
        let wait = Duration::from_secs(20);
        let listening = Some(Listening { state: 1, wait });
        assert_eq!(
            next(None, 1, Duration::ZERO),
            Duration::ZERO,
            "it has just been told, and listens from now on"
        );
        assert_eq!(next(None, 0, Duration::ZERO), TELL_AGAIN, "an earlier release");
        assert_eq!(next(listening, 2, Duration::ZERO), BREATH);
        assert_eq!(next(listening, 1, Duration::ZERO), TELL_AGAIN, "it drains");
        assert_eq!(next(listening, 1, wait), Duration::ZERO);
    }

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
