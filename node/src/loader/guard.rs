//! The guard of a loader: a timeout, a bound on loads in flight, and a short queue with a bound of its own.
//!
//! Each group has its own guard, so that a slow loader fills its own places and nobody else's.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader, Turn};
use groupcache_group::value::Outcome;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::configuration::LoaderSettings;
use crate::loader::failure::{DEADLINE_EXCEEDED, failed};
use crate::metrics::{LoadMetrics, LoadOutcome};

/// A loader that cannot be overrun, and always answers in time.
pub struct Guard {
    inner: Box<dyn Loader>,
    group: Arc<str>,
    places: Arc<Semaphore>,
    queue: Semaphore,
    max_in_flight: usize,
    timeout: Duration,
    queue_timeout: Duration,
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
        Guard {
            inner,
            group: Arc::clone(group),
            places: Arc::new(Semaphore::new(settings.max_in_flight)),
            queue: Semaphore::new(settings.max_queued),
            max_in_flight: settings.max_in_flight,
            timeout: settings.timeout,
            queue_timeout: settings.queue_timeout,
            metrics,
        }
    }

    /// Loads in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.max_in_flight.saturating_sub(self.places.available_permits()) as u64
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

    async fn call(&self, request: LoadRequest) -> Result<Loaded, LoadError> {
        let deadline = request.deadline.min(Instant::now() + self.timeout);
        match timeout_at(deadline, self.inner.load(LoadRequest { deadline, ..request })).await {
            Ok(answer) => answer,
            Err(_) => {
                let after = format!("no answer within {} ms", self.timeout.as_millis());
                Err(failed(self.inner.name(), DEADLINE_EXCEEDED, after))
            }
        }
    }
}

impl Loader for Guard {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn admit<'a>(&'a self, _: &'a LoadRequest) -> BoxFuture<'a, Result<Turn, LoadError>> {
        Box::pin(async move {
            let asked = Instant::now();
            let place = self.place().await;
            self.metrics.waited(&self.group, asked.elapsed());
            place.map(Turn::holding).inspect_err(|_| self.metrics.shed(&self.group))
        })
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let started = Instant::now();
            let answer = self.call(request).await;
            let outcome = match &answer {
                Ok(Loaded { outcome: Outcome::Value(_), .. }) => LoadOutcome::Value,
                Ok(_) => LoadOutcome::NotFound,
                Err(_) => LoadOutcome::Error,
            };
            self.metrics.loaded(&self.group, outcome, started.elapsed());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use groupcache_group::loader::FnLoader;
    use groupcache_group::value::Key;

    use super::*;
    use crate::configuration::LoaderKind;

    fn guard(max_in_flight: usize, max_queued: usize) -> Arc<Guard> {
        let never = FnLoader::new("slow", |_| std::future::pending());
        let settings = LoaderSettings {
            name: "slow".into(),
            kind: LoaderKind::Grpc { target: "x:1".into(), authority: None },
            timeout: Duration::from_secs(1),
            max_in_flight,
            max_queued,
            queue_timeout: Duration::from_millis(250),
        };
        Arc::new(Guard::new(Box::new(never), &Arc::from("g"), &settings, LoadMetrics::default()))
    }

    fn ask(guard: &Arc<Guard>) -> tokio::task::JoinHandle<Result<Loaded, LoadError>> {
        let guard = Arc::clone(guard);
        tokio::spawn(async move {
            let key = Key::new("k", 10).unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            let request = LoadRequest { group: "g".into(), key, deadline };
            let _turn = guard.admit(&request).await?;
            guard.load(request).await
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_load_that_never_answers_ends_at_the_timeout() {
        let started = Instant::now();
        let error = ask(&guard(1, 1)).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "loader slow: no answer within 1000 ms");
        assert_eq!(started.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_places_and_queue_a_load_is_refused_at_once() {
        let guard = guard(2, 1);
        let started = Instant::now();
        let places = [ask(&guard), ask(&guard)];
        tokio::task::yield_now().await;
        assert_eq!(guard.in_flight(), 2);
        let queued = ask(&guard);
        tokio::task::yield_now().await;
        let refused = ask(&guard).await.unwrap().unwrap_err();
        assert!(refused.to_string().contains("its queue is full"), "{refused}");
        assert_eq!(started.elapsed(), Duration::ZERO);
        let late = queued.await.unwrap().unwrap_err();
        assert!(late.to_string().contains("no place became free in time"), "{late}");
        assert_eq!(started.elapsed(), Duration::from_millis(250));
        for place in places {
            assert!(matches!(place.await.unwrap(), Err(LoadError::Failed { .. })));
        }
        assert_eq!(guard.in_flight(), 0);
    }
}
