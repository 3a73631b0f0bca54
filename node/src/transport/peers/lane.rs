//! One long-lived stream to another node: calls go out as they come, answers find who waits for them.
//!
//! Nothing is held back to be sent together: what is queued when the connection can write goes out in one piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use groupcache_group::peer::PeerError;
use groupcache_proto::cluster::cluster_service_client::ClusterServiceClient;
use groupcache_proto::cluster::exchange_request::Call;
use groupcache_proto::cluster::exchange_response::Answer as Said;
use groupcache_proto::cluster::{self as wire, fetch_response};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use crate::causes::causes;
use crate::transport::peers::Patience;
use crate::transport::peers::breaker::Breaker;

/// Calls that wait to be written, and withdrawals: more than there may be calls under way. Who finds it full waits, and that counts as silence.
const QUEUE: usize = 1024;

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub(super) enum Unanswered {
    /// The call itself failed.
    Failed(PeerError),
    /// The node does not know streams: it is to be spoken to in calls.
    NotServed,
}

/// A stream that is there when it is needed.
#[derive(Debug)]
pub(super) struct Lane {
    client: ClusterServiceClient<Channel>,
    breaker: Arc<Breaker>,
    open: Mutex<Option<Arc<Open>>>,
}

/// A stream from its first call to its end.
#[derive(Debug)]
struct Open {
    /// Held for look-ups only, never over a wait.
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct Calls {
    /// `None` once nothing more is sent.
    to: Option<mpsc::Sender<wire::ExchangeRequest>>,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Result<Said, Unanswered>>,
    /// The last sign of life of this call.
    alive: Option<Instant>,
}

impl Lane {
    pub(super) fn new(client: ClusterServiceClient<Channel>, breaker: Arc<Breaker>) -> Self {
        Lane { client, breaker, open: Mutex::default() }
    }

    /// Sends a call and waits for its answer: until patience is at an end, or the deadline.
    pub(super) async fn call(
        &self,
        id: u64,
        call: Call,
        patience: Option<Patience>,
        hard: Instant,
    ) -> Result<Said, Unanswered> {
        let (on_its_way, to, mut answer) = self.enter(id)?;
        let mut until = patience.map_or(hard, |patience| Instant::now() + patience.first);
        let request = wire::ExchangeRequest { id, call: Some(call) };
        if let Err(mpsc::error::TrySendError::Full(request)) = to.try_send(request) {
            tokio::select! {
                biased;
                // A stream that has ended tells its calls why, below.
                _ = to.send(request) => {}
                () = sleep_until(until.min(hard)) => return Err(silence(hard <= until)),
            }
        }
        loop {
            tokio::select! {
                // The answer first: if this process itself was late, it may be there already.
                biased;
                answer = &mut answer => {
                    let gone = || Unanswered::Failed(PeerError::Unreachable("the stream is gone".into()));
                    return answer.unwrap_or_else(|_| Err(gone()));
                }
                () = sleep_until(until.min(hard)) => {}
            }
            let sign = on_its_way.alive().zip(patience).map(|(alive, patience)| alive + patience.next);
            match sign {
                Some(next) if until < hard && next > until => until = next,
                _ => return Err(silence(hard <= until)),
            }
        }
    }

    /// Enters a call into the stream, and opens one if there is none.
    fn enter(&self, id: u64) -> Result<Entered, Unanswered> {
        let mut open = self.open.lock();
        if let Some(entered) = open.as_ref().and_then(|open| open.enter(id)) {
            return Ok(entered);
        }
        let (to, requests) = mpsc::channel(QUEUE);
        let calls = Calls { to: Some(to), waiting: BTreeMap::new() };
        let new = Arc::new(Open { calls: Mutex::new(calls) });
        *open = Some(Arc::clone(&new));
        drop(open);
        let entered = new.enter(id);
        tokio::spawn(drive(self.client.clone(), requests, new, Arc::clone(&self.breaker)));
        entered.ok_or_else(|| Unanswered::Failed(PeerError::Unreachable("the stream has ended".into())))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // The other side answers what it has, and ends.
        if let Some(open) = self.open.get_mut() {
            open.calls.lock().to = None;
        }
    }
}

/// A call that has been entered, the way out, and where its answer will be.
type Entered = (OnItsWay, mpsc::Sender<wire::ExchangeRequest>, oneshot::Receiver<Result<Said, Unanswered>>);

impl Open {
    fn enter(self: &Arc<Self>, id: u64) -> Option<Entered> {
        let (answer, answered) = oneshot::channel();
        let mut calls = self.calls.lock();
        let to = calls.to.clone()?;
        calls.waiting.insert(id, Waiting { answer, alive: None });
        drop(calls);
        Some((OnItsWay { open: Arc::clone(self), id }, to, answered))
    }

    fn take(&self, answer: wire::ExchangeResponse) {
        let Some(said) = answer.answer else { return };
        let mut calls = self.calls.lock();
        match said {
            Said::Closing(_) => calls.to = None,
            Said::Fetch(wire::FetchResponse {
                outcome: Some(fetch_response::Outcome::Pending(_)), ..
            }) => {
                if let Some(waiting) = calls.waiting.get_mut(&answer.id) {
                    waiting.alive = Some(Instant::now());
                }
            }
            said => {
                let waiting = calls.waiting.remove(&answer.id);
                drop(calls);
                // Who waits no longer has withdrawn the call.
                waiting.map(|waiting| waiting.answer.send(Ok(said)));
            }
        }
    }

    /// Nothing more comes: all who wait are told.
    fn end(&self, why: &Unanswered) {
        let mut calls = self.calls.lock();
        calls.to = None;
        let waiting = std::mem::take(&mut calls.waiting);
        drop(calls);
        for (_, waiting) in waiting {
            let _ = waiting.answer.send(Err(why.clone()));
        }
    }
}

/// A call under way; withdrawn when dropped before its answer is there.
struct OnItsWay {
    open: Arc<Open>,
    id: u64,
}

impl OnItsWay {
    fn alive(&self) -> Option<Instant> {
        self.open.calls.lock().waiting.get(&self.id)?.alive
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        let mut calls = self.open.calls.lock();
        if calls.waiting.remove(&self.id).is_none() {
            return;
        }
        if let Some(to) = &calls.to {
            // Without room for it the other side learns by the call's deadline.
            let _ =
                to.try_send(wire::ExchangeRequest { id: self.id, call: Some(Call::Cancel(wire::Cancel {})) });
        }
    }
}

/// Runs a stream to its end.
async fn drive(
    mut client: ClusterServiceClient<Channel>,
    requests: mpsc::Receiver<wire::ExchangeRequest>,
    open: Arc<Open>,
    breaker: Arc<Breaker>,
) {
    let why = match client.exchange(ReceiverStream::new(requests)).await {
        Ok(answers) => listen(answers.into_inner(), &open, &breaker).await,
        Err(status) => broken(&status),
    };
    open.end(&why);
}

async fn listen(
    mut answers: Streaming<wire::ExchangeResponse>,
    open: &Open,
    breaker: &Breaker,
) -> Unanswered {
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                breaker.heard();
                open.take(answer);
            }
            Ok(None) => {
                let why = "it ended the stream without an answer";
                return Unanswered::Failed(PeerError::Unreachable(why.into()));
            }
            Err(status) => return broken(&status),
        }
    }
}

fn broken(status: &Status) -> Unanswered {
    let why = match std::error::Error::source(status) {
        Some(cause) => causes(cause),
        None if status.code() == Code::Unimplemented => return Unanswered::NotServed,
        None => format!("{:?}: {}", status.code(), status.message()),
    };
    Unanswered::Failed(PeerError::Unreachable(why.into()))
}

fn silence(deadline: bool) -> Unanswered {
    Unanswered::Failed(if deadline {
        PeerError::DeadlineExceeded
    } else {
        PeerError::Unreachable("no answer and no sign of life".into())
    })
}
