//! The source of truth: a counter per key, loads that are counted and can be held, ways to fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::group::Answer;
use groupcache_group::loader::{LoadError, LoadRequest, Loaded, Loader};
use groupcache_group::value::{Key, Outcome};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::shake::shake;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Answers,
    Big(usize),
    NotFound,
    Fails,
    Full,
    /// Fails every third time.
    Flaky,
    Panics,
}

pub(crate) struct Source {
    counters: Mutex<HashMap<Key, u64>>,
    pub(crate) mood: Mutex<Mood>,
    pub(crate) ttl: Mutex<Option<Duration>>,
    /// Whether it states the counter as its version.
    pub(crate) versioned: AtomicBool,
    calls: AtomicUsize,
    held: watch::Sender<bool>,
    started: watch::Sender<usize>,
    pub(crate) shaky: AtomicBool,
}

impl Default for Source {
    fn default() -> Self {
        Source {
            counters: Mutex::default(),
            mood: Mutex::default(),
            ttl: Mutex::default(),
            versioned: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            held: watch::Sender::new(false),
            started: watch::Sender::new(0),
            shaky: AtomicBool::new(false),
        }
    }
}

impl Source {
    /// Changes a key; answers its new counter.
    pub(crate) fn bump(&self, key: &Key) -> u64 {
        let mut counters = self.counters.lock();
        let counter = counters.entry(key.clone()).or_default();
        *counter += 1;
        *counter
    }

    /// As if the key had never changed: a replica that is behind.
    pub(crate) fn forget(&self, key: &Key) {
        self.counters.lock().remove(key);
    }

    pub(crate) fn loads(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Keeps loads that have read their value from answering.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Waits until so many loads in all have started.
    pub(crate) async fn started(&self, count: usize) {
        let mut started = self.started.subscribe();
        let started = started.wait_for(|started| *started >= count);
        timeout(Duration::from_secs(60), started).await.expect("no further load starts").unwrap();
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }
}

impl Loader for Source {
    fn name(&self) -> &str {
        "source"
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            // The answer is the counter as it stands when the load starts.
            let counter = self.counters.lock().get(&request.key).copied().unwrap_or(0);
            self.started.send_modify(|started| *started += 1);
            if self.shaky.load(Ordering::Relaxed) {
                shake().await;
            }
            self.held.subscribe().wait_for(|held| !held).await.unwrap();
            let mood = self.mood.lock().clone();
            let mut loaded = match mood {
                Mood::Answers => Loaded::value(counter.to_le_bytes().to_vec()),
                Mood::Big(bytes) => Loaded::value(vec![0; bytes]),
                Mood::NotFound => Loaded::not_found(),
                Mood::Fails => {
                    return Err(LoadError::Failed { code: 14, message: "source: it is down".into() });
                }
                Mood::Full => {
                    let message = "source: too many".into();
                    return Err(LoadError::Overloaded { message, retry_after: Duration::from_secs(1) });
                }
                Mood::Flaky if call.is_multiple_of(3) => {
                    return Err(LoadError::Failed { code: 14, message: "source: not now".into() });
                }
                Mood::Flaky => Loaded::value(counter.to_le_bytes().to_vec()),
                Mood::Panics => panic!("the loader panics on purpose"),
            };
            loaded.ttl = *self.ttl.lock();
            loaded.version = self.versioned.load(Ordering::Relaxed).then_some(counter);
            Ok(loaded)
        })
    }
}

/// The counter in an answer.
pub(crate) fn counter(answer: &Answer) -> u64 {
    match &answer.entry.outcome {
        Outcome::Value(bytes) => u64::from_le_bytes(bytes.as_ref().try_into().unwrap()),
        Outcome::NotFound => panic!("no such key"),
    }
}
