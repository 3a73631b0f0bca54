//! The guard of a loader: timeout, bounds on loads in flight and queued, budgeted retries, and a circuit breaker.
//!
//! Each group has its own guard, so that a slow or failing loader costs its own group and nobody else's. In this order:
//!
//! 1. [`Guard::admit`](Loader::admit): the breaker is asked, then a place is waited for in a short queue.
//! 2. [`Guard::load`](Loader::load): the breaker is asked again, for it may have opened meanwhile; what is left of the time goes along, less a margin.
//! 3. A failure that another try may mend is tried again while time and the retry budget last.
//! 4. How it ended teaches the breaker. A call for many keys counts once, however many.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use groupcache_group::loader::{LoadError, LoadManyRequest, LoadRequest, Loaded, Loader, Turn};
use groupcache_group::value::Outcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::configuration::LoaderSettings;
use crate::loader::breaker::{Breaker, Circuit, Refused, Ticket, Verdict};
use crate::loader::failure::{
    DEADLINE_EXCEEDED, INVALID_ARGUMENT, OUT_OF_RANGE, UNAVAILABLE, UNIMPLEMENTED, failed,
};
use crate::loader::health::{Health, Record};
use crate::loader::retry::{Budget, is_worth_it, pause};
use crate::metrics::{LoadMetrics, LoadOutcome};

/// With less left than this a load is not sent: its answer could not be back in time.
const LEAST_TIME: Duration = Duration::from_millis(1);

/// What the loader is told is shorter by one part of this many, so that what it says of its own deadline still arrives.
const MARGIN_PART: u32 = 10;

/// The longest such margin: a way back within a cluster.
const LONGEST_MARGIN: Duration = Duration::from_millis(10);

/// Loads at a time where a loader has no call for many keys, as far as places are free: a source is not to be flooded by one caller.
const AT_A_TIME: usize = 8;

type Many = Vec<Result<Loaded, LoadError>>;

/// A loader that cannot be overrun, and always answers in time.
pub struct Guard {
    inner: Box<dyn Loader>,
    group: Arc<str>,
    places: Arc<Semaphore>,
    queue: Semaphore,
    max_in_flight: usize,
    timeout: Duration,
    queue_timeout: Duration,
    max_tries: u32,
    budget: Budget,
    breaker: Breaker,
    record: Record,
    metrics: LoadMetrics,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("group", &self.group).field("loader", &self.inner.name()).finish()
    }
}

impl Guard {
    /// Guards `inner` for one group.
    #[must_use]
    pub fn new(
        inner: Box<dyn Loader>,
        group: &Arc<str>,
        settings: &LoaderSettings,
        metrics: LoadMetrics,
    ) -> Self {
        let name = format!("{} of group {group}", inner.name());
        Guard {
            inner,
            group: Arc::clone(group),
            places: Arc::new(Semaphore::new(settings.max_in_flight)),
            queue: Semaphore::new(settings.max_queued),
            max_in_flight: settings.max_in_flight,
            timeout: settings.timeout,
            queue_timeout: settings.queue_timeout,
            max_tries: settings.max_attempts,
            budget: Budget::new(),
            breaker: Breaker::new(settings.breaker, name),
            record: Record::default(),
            metrics,
        }
    }

    /// Loads in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.max_in_flight.saturating_sub(self.places.available_permits()) as u64
    }

    /// What the breaker lets through now.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.breaker.circuit()
    }

    /// How the loader does.
    #[must_use]
    pub fn health(&self) -> Health {
        self.record.health(self.breaker.circuit())
    }

    /// A load that was let through has ended.
    fn ended(&self, ticket: Ticket<'_>, error: Option<&LoadError>) {
        let verdict = error.map_or(Verdict::Answered, verdict);
        ticket.ended(verdict);
        self.record.ended(verdict, error);
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit, LoadError> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let Ok(_queued) = self.queue.try_acquire() else {
            return Err(self.overloaded("its queue is full"));
        };
        let place = timeout(self.queue_timeout, Arc::clone(&self.places).acquire_owned()).await;
        // The semaphore is never closed.
        place.ok().and_then(Result::ok).ok_or_else(|| self.overloaded("no place became free in time"))
    }

    fn overloaded(&self, why: &str) -> LoadError {
        let (name, group, most) = (self.inner.name(), &self.group, self.max_in_flight);
        LoadError::Overloaded {
            message: Arc::from(format!(
                "loader {name}: {most} loads of group {group} are in flight and {why}; try again later"
            )),
            retry_after: self.queue_timeout.max(Duration::from_millis(1)),
        }
    }

    fn refused(&self, Refused { after }: Refused) -> LoadError {
        self.metrics.refused(&self.group);
        let when = match after {
            Some(after) => format!("it is tried again in {} ms", after.as_millis().max(1)),
            None => "one load is trying it now".to_owned(),
        };
        let what = format!(
            "too many loads of group {} failed, so that none is sent (circuit breaker); {when}, and loads go on once that succeeds",
            self.group
        );
        failed(self.inner.name(), UNAVAILABLE, what)
    }

    /// Lets a load through that has the time for it.
    fn enter(&self, asked: Instant) -> Result<(Ticket<'_>, Instant), LoadError> {
        let now = Instant::now();
        let deadline = asked.min(now + self.timeout);
        if deadline.saturating_duration_since(now) < LEAST_TIME {
            return Err(failed(self.inner.name(), DEADLINE_EXCEEDED, "no time was left to ask it"));
        }
        let ticket = self.breaker.enter().map_err(|refused| self.refused(refused))?;
        Ok((ticket, deadline))
    }

    /// Tries until one succeeds, or another makes no sense.
    async fn tried<'a, T>(
        &'a self,
        deadline: Instant,
        ask: impl Fn(Instant) -> BoxFuture<'a, Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        self.budget.pay_in();
        for tries in 1.. {
            let error = match self.once(deadline, &ask).await {
                Err(error) if is_worth_it(&error) => error,
                answer => return answer.map_err(|error| after(tries, error)),
            };
            let pause = pause(tries);
            let in_time = Instant::now() + pause + LEAST_TIME < deadline;
            if tries >= self.max_tries || !in_time || !self.budget.pay() {
                return Err(after(tries, error));
            }
            self.metrics.retried(&self.group);
            sleep(pause).await;
        }
        Err(self.late())
    }

    async fn once<'a, T>(
        &'a self,
        deadline: Instant,
        ask: impl Fn(Instant) -> BoxFuture<'a, Result<T, LoadError>>,
    ) -> Result<T, LoadError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left < LEAST_TIME {
            return Err(self.late());
        }
        let margin = (left / MARGIN_PART).min(LONGEST_MARGIN);
        timeout_at(deadline, ask(deadline - margin)).await.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&self) -> LoadError {
        let after = format!("no answer within {} ms", self.timeout.as_millis());
        failed(self.inner.name(), DEADLINE_EXCEEDED, after)
    }

    async fn many(&self, request: LoadManyRequest, deadline: Instant) -> Result<Many, LoadError> {
        if self.inner.most_keys() > 1 {
            let ask = |deadline| self.inner.load_many(LoadManyRequest { deadline, ..request.clone() });
            match self.tried(deadline, ask).await {
                // It has no such call, or its answer for so many is too large: one by one they can still be told.
                Err(LoadError::Failed { code: UNIMPLEMENTED | OUT_OF_RANGE, .. }) => {}
                answer => return answer,
            }
        }
        Ok(self.one_by_one(request, deadline).await)
    }

    /// Within the bound on loads in flight: the call's own place, and those that nobody else wants.
    async fn one_by_one(
        &self,
        LoadManyRequest { group, keys, .. }: LoadManyRequest,
        deadline: Instant,
    ) -> Many {
        let spare = || Arc::clone(&self.places).try_acquire_owned().ok();
        let more = keys.len().min(AT_A_TIME).saturating_sub(1);
        let places: Vec<_> = std::iter::from_fn(spare).take(more).collect();
        let loads = keys.into_iter().map(|key| {
            let group = Arc::clone(&group);
            let ask = move |deadline| {
                self.inner.load(LoadRequest { group: Arc::clone(&group), key: key.clone(), deadline })
            };
            self.tried(deadline, ask)
        });
        stream::iter(loads).buffered(1 + places.len()).collect().await
    }
}

impl Loader for Guard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn admit<'a>(&'a self, _: &'a LoadRequest) -> BoxFuture<'a, Result<Turn, LoadError>> {
        Box::pin(async move {
            // Asked before the queue, so that none forms before a source that is down.
            self.breaker.look().map_err(|refused| self.refused(refused))?;
            let asked = Instant::now();
            let place = self.place().await;
            self.metrics.waited(&self.group, asked.elapsed());
            place.map(Turn::holding).inspect_err(|_| self.metrics.shed(&self.group))
        })
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let (ticket, deadline) = self.enter(request.deadline)?;
            let started = Instant::now();
            let ask = |deadline| self.inner.load(LoadRequest { deadline, ..request.clone() });
            let answer = self.tried(deadline, ask).await;
            self.ended(ticket, answer.as_ref().err());
            self.metrics.loaded(&self.group, outcome(&answer), started.elapsed());
            answer
        })
    }

    fn most_keys(&self) -> usize {
        self.inner.most_keys()
    }

    fn load_many(&self, request: LoadManyRequest) -> BoxFuture<'_, Result<Many, LoadError>> {
        Box::pin(async move {
            let (ticket, deadline) = self.enter(request.deadline)?;
            let started = Instant::now();
            let answer = self.many(request, deadline).await;
            let answers = answer.as_deref().unwrap_or_default();
            let answered = answers.iter().find(|answer| answer.is_ok()).or(answers.first());
            let error = match (&answer, answered) {
                (Err(error), _) | (_, Some(Err(error))) => Some(error),
                (Ok(_), _) => None,
            };
            self.ended(ticket, error);
            let outcome = answered.map_or(LoadOutcome::Error, outcome);
            self.metrics.loaded(&self.group, outcome, started.elapsed());
            answer
        })
    }
}

/// What a failure says of the source: one that finds fault with the key is there, and one that was not asked is unknown.
fn verdict(error: &LoadError) -> Verdict {
    match error {
        LoadError::Overloaded { .. } | LoadError::Failed { code: INVALID_ARGUMENT | OUT_OF_RANGE, .. } => {
            Verdict::Nothing
        }
        LoadError::Failed { .. } => Verdict::Failed,
    }
}

fn outcome(answer: &Result<Loaded, LoadError>) -> LoadOutcome {
    match answer {
        Ok(Loaded { outcome: Outcome::Value(_), .. }) => LoadOutcome::Value,
        Ok(_) => LoadOutcome::NotFound,
        Err(_) => LoadOutcome::Error,
    }
}

/// The failure, and how often it was tried.
fn after(tries: u32, error: LoadError) -> LoadError {
    match error {
        LoadError::Failed { code, message } if tries > 1 => {
            LoadError::Failed { code, message: Arc::from(format!("{message} (after {tries} tries)")) }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests;
