//! The source of truth: a counter per key, loads that are counted and can be held, ways to fail.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use groupcache_group::group::Answer;
use groupcache_group::loader::{LoadError, LoadManyRequest, LoadRequest, Loaded, Loader, Turn};
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

/// How a call for several keys ends as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Together {
    #[default]
    Answers,
    Fails,
    Panics,
    OneTooFew,
    OneTooMany,
}

pub(crate) struct Source {
    counters: Mutex<HashMap<Key, u64>>,
    pub(crate) mood: Mutex<Mood>,
    /// For single keys, before the mood of all.
    pub(crate) moods: Mutex<HashMap<Key, Mood>>,
    pub(crate) together: Mutex<Together>,
    most_keys: AtomicUsize,
    by_key: Mutex<HashMap<Key, usize>>,
    shut: watch::Sender<bool>,
    pub(crate) ttl: Mutex<Option<Duration>>,
    /// Whether it states the counter as its version.
    pub(crate) versioned: AtomicBool,
    calls: AtomicUsize,
    ends: AtomicUsize,
    held: watch::Sender<bool>,
    started: watch::Sender<usize>,
    pub(crate) shaky: AtomicBool,
}

impl Default for Source {
    fn default() -> Self {
        Source {
            counters: Mutex::default(),
            mood: Mutex::default(),
            moods: Mutex::default(),
            together: Mutex::default(),
            most_keys: AtomicUsize::new(1),
            by_key: Mutex::default(),
            shut: watch::Sender::new(false),
            ttl: Mutex::default(),
            versioned: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            ends: AtomicUsize::new(0),
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

    pub(crate) fn loads_of(&self, key: &Key) -> usize {
        self.by_key.lock().get(key).copied().unwrap_or(0)
    }

    /// How many keys one call may ask for.
    pub(crate) fn takes(&self, most_keys: usize) {
        self.most_keys.store(most_keys, Ordering::SeqCst);
    }

    /// Keeps loads from being sent.
    pub(crate) fn shut(&self, shut: bool) {
        self.shut.send_replace(shut);
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

    /// Begins a load: the answer is the counter as it stands then.
    fn begin(&self, key: &Key) -> u64 {
        self.calls.fetch_add(1, Ordering::SeqCst);
        *self.by_key.lock().entry(key.clone()).or_default() += 1;
        self.counters.lock().get(key).copied().unwrap_or(0)
    }

    async fn take_long(&self) {
        if self.shaky.load(Ordering::Relaxed) {
            shake().await;
        }
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
    }

    fn end(&self, key: &Key, counter: u64) -> Result<Loaded, LoadError> {
        let mood = self.moods.lock().get(key).unwrap_or(&self.mood.lock()).clone();
        let mut loaded = match mood {
            Mood::Answers => Loaded::value(counter.to_le_bytes().to_vec()),
            Mood::Big(bytes) => Loaded::value(vec![0; bytes]),
            Mood::NotFound => Loaded::not_found(),
            Mood::Fails => return Err(down()),
            Mood::Full => {
                let message = "source: too many".into();
                return Err(LoadError::Overloaded { message, retry_after: Duration::from_secs(1) });
            }
            Mood::Flaky if self.ends.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) => return Err(down()),
            Mood::Flaky => Loaded::value(counter.to_le_bytes().to_vec()),
            Mood::Panics => panic!("the loader panics on purpose"),
        };
        loaded.ttl = *self.ttl.lock();
        loaded.version = self.versioned.load(Ordering::Relaxed).then_some(counter);
        Ok(loaded)
    }
}

pub(crate) fn down() -> LoadError {
    LoadError::Failed { code: 14, message: "source: it is down".into() }
}

impl Loader for Source {
    fn name(&self) -> &str {
        "source"
    }

    fn admit<'a>(&'a self, _: &'a LoadRequest) -> BoxFuture<'a, Result<Turn, LoadError>> {
        Box::pin(async {
            self.shut.subscribe().wait_for(|shut| !shut).await.unwrap();
            Ok(Turn::free())
        })
    }

    fn load(&self, request: LoadRequest) -> BoxFuture<'_, Result<Loaded, LoadError>> {
        Box::pin(async move {
            let counter = self.begin(&request.key);
            self.started.send_modify(|started| *started += 1);
            self.take_long().await;
            self.end(&request.key, counter)
        })
    }

    fn most_keys(&self) -> usize {
        self.most_keys.load(Ordering::SeqCst)
    }

    fn load_many(
        &self,
        request: LoadManyRequest,
    ) -> BoxFuture<'_, Result<Vec<Result<Loaded, LoadError>>, LoadError>> {
        Box::pin(async move {
            assert!((2..=self.most_keys()).contains(&request.keys.len()));
            let counters: Vec<_> = request.keys.iter().map(|key| self.begin(key)).collect();
            self.started.send_modify(|started| *started += counters.len());
            self.take_long().await;
            let mut loaded: Vec<_> =
                request.keys.iter().zip(counters).map(|(key, counter)| self.end(key, counter)).collect();
            let together = *self.together.lock();
            match together {
                Together::Answers => {}
                Together::Fails => return Err(down()),
                Together::Panics => panic!("the loader panics on purpose"),
                Together::OneTooFew => drop(loaded.pop()),
                Together::OneTooMany => loaded.push(Ok(Loaded::not_found())),
            }
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
