//! Several keys of which this node is the owner: answered together, sent in messages of a bounded size.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream;
use groupcache_group::group::{Answer, Origin};
use groupcache_group::value::Key;
use groupcache_proto::cluster as wire;
use tokio::time::{Instant, sleep_until};
use tonic::Status;

use crate::transport::calls::{self, CallError, MAX_KEYS};
use crate::transport::cluster_server::{Answers, ClusterServer};
use crate::transport::fetching::{FIRST_SIGN, NEXT_SIGN};
use crate::transport::wire::{fetch_response, status};

/// Most bytes of values in one call: an application's GetMany takes no more in all.
const MOST_BYTES: usize = 4 << 20;

/// Bytes of values after which a message is sent: a value that is larger has a message of its own.
const MESSAGE_BYTES: usize = 1 << 20;

/// The group's word on the first keys.
type Results = VecDeque<Result<Answer, CallError>>;

/// A FetchMany on its way. Dropped when the asker goes.
struct FetchingMany {
    server: ClusterServer,
    next_sign: Instant,
    call: BoxFuture<'static, Result<Results, CallError>>,
    /// What is still to be sent, once it is known.
    results: Option<Results>,
    begun: bool,
}

impl ClusterServer {
    /// The answers as a stream.
    pub(super) fn answers_of(
        self,
        request: wire::FetchManyRequest,
    ) -> Result<Answers<wire::FetchManyResponse>, Status> {
        let count = request.keys.len();
        if count == 0 || count > MAX_KEYS {
            return Err(Status::invalid_argument(format!("{count} keys; ask for 1 to {MAX_KEYS}")));
        }
        let deadline = calls::deadline(Some(Duration::from_millis(request.deadline_ms)));
        let next_sign = Instant::now() + FIRST_SIGN;
        let call = Box::pin(self.clone().answer_many(request, deadline));
        let fetching = FetchingMany { server: self, next_sign, call, results: None, begun: false };
        Ok(Box::pin(stream::unfold(Some(fetching), async |fetching| fetching?.next().await)))
    }

    /// Answers as the owner: from main or by loads, never by asking further.
    async fn answer_many(
        self,
        request: wire::FetchManyRequest,
        deadline: Instant,
    ) -> Result<Results, CallError> {
        let Some(group) = self.group(request.caller.as_ref(), &request.group, deadline).await else {
            let unknown = |_| Err(CallError::UnknownGroup(request.group.clone()));
            return Ok(request.keys.iter().map(unknown).collect());
        };
        let limit = group.settings().max_key_bytes;
        let keys: Result<Vec<_>, _> = request.keys.into_iter().map(|key| Key::new(key, limit)).collect();
        let answers = group.get_many(keys?, Origin::Peer, deadline, MOST_BYTES).await;
        Ok(answers.into_iter().map(|answer| answer.map_err(CallError::from)).collect())
    }
}

impl FetchingMany {
    /// The next message; `None` behind it if it is the last.
    async fn next(mut self) -> Option<(Result<wire::FetchManyResponse, Status>, Option<Self>)> {
        if self.results.is_none() {
            tokio::select! {
                biased;
                results = &mut self.call => match results {
                    Ok(results) => self.results = Some(results),
                    Err(error) => return Some((Err(status(&error)), None)),
                },
                // Nothing is lost here: the call's future stays in self.
                () = sleep_until(self.next_sign) => {
                    self.next_sign = Instant::now() + NEXT_SIGN;
                    return Some((Ok(self.message(Vec::new())), Some(self)));
                }
            }
        }
        match self.answers() {
            Ok(answers) if answers.is_empty() => None,
            Ok(answers) => {
                self.begun = true;
                Some((Ok(self.message(answers)), Some(self)))
            }
            // The asker takes the call that ends early for an invitation to ask for the rest.
            Err(_) if self.begun => None,
            Err(status) => Some((Err(status), None)),
        }
    }

    /// The answers of the next message, up to the first key that has none to give; an error if that is the next one.
    fn answers(&mut self) -> Result<Vec<wire::FetchResponse>, Status> {
        let (mut answers, mut bytes) = (Vec::new(), 0);
        let version = self.server.version();
        let Some(results) = &mut self.results else { return Ok(answers) };
        while let Some(next) = results.pop_front() {
            let size = next
                .as_ref()
                .map_or_else(|error| error.to_string().len(), |answer| answer.entry.value_bytes());
            bytes += size;
            if bytes > MESSAGE_BYTES && !answers.is_empty() {
                results.push_front(next);
                break;
            }
            match fetch_response(version, next) {
                Ok(answer) => answers.push(wire::FetchResponse { version: None, ..answer }),
                Err(status) if answers.is_empty() => return Err(status),
                Err(_) => {
                    results.clear();
                    break;
                }
            }
        }
        Ok(answers)
    }

    fn message(&self, answers: Vec<wire::FetchResponse>) -> wire::FetchManyResponse {
        wire::FetchManyResponse { version: self.server.wire_version(), answers }
    }
}
