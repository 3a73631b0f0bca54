//! The loaders: adapters from the group's seam to services that know the truth.
//!
//! * [`grpc`]: a service that speaks `groupcache.loader.v1`; [`addresses`] are where it lives.
//! * [`http`]: a service that answers GET; [`template`] is its URL, [`reach`] where it may not be.
//! * [`guard`]: around any of them, per group: timeout, bounds, `retry` and [`breaker`]; [`health`] is what it tells of the loader.
//! * [`room`]: the bytes that answers may take; `metered` finds it for gRPC. `many`: how many keys a call may ask for.

use std::collections::HashMap;
use std::sync::Arc;

use groupcache_group::loader::Loader;
use groupcache_proto::cluster::{LoaderReach, LoaderState};
use parking_lot::Mutex;

use crate::configuration::{LoaderKind, LoaderSettings};
use crate::loader::breaker::Circuit;
use crate::loader::grpc::GrpcLoader;
use crate::loader::guard::Guard;
use crate::loader::health::Health;
use crate::loader::http::HttpLoader;
use crate::loader::room::Room;
use crate::metrics::LoadMetrics;

pub mod addresses;
pub mod breaker;
mod failure;
pub mod grpc;
pub mod guard;
pub mod health;
pub mod http;
mod many;
mod metered;
pub mod reach;
mod retry;
pub mod room;
pub mod template;

/// A loader of one group, with what it was made of.
type Made = ((usize, LoaderSettings), Arc<Guard>);

/// The loaders in use. One that stays the same over a change of configuration keeps its connections and its count of loads in flight.
#[derive(Debug)]
pub struct Loaders {
    room: Room,
    metrics: LoadMetrics,
    made: Mutex<HashMap<Arc<str>, Made>>,
}

impl Loaders {
    /// No loader yet; there is `room` for what they read.
    #[must_use]
    pub fn new(room: Room, metrics: LoadMetrics) -> Self {
        Loaders { room, metrics, made: Mutex::default() }
    }

    /// The loader of each group, in the order given. Loaders of groups not named are dropped.
    pub fn make(&self, groups: &[(Arc<str>, usize, LoaderSettings)]) -> Vec<Arc<dyn Loader>> {
        // Held over construction only, which waits for nothing.
        let mut made = self.made.lock();
        let mut kept = HashMap::new();
        let mut answer: Vec<Arc<dyn Loader>> = Vec::new();
        for (group, max_value_bytes, settings) in groups {
            let made_of = (*max_value_bytes, settings.clone());
            let guard = match made.remove(group) {
                Some((before, guard)) if before == made_of => guard,
                _ => Arc::new(self.guard(group, *max_value_bytes, settings)),
            };
            self.metrics.begin(group);
            answer.push(Arc::clone(&guard) as Arc<dyn Loader>);
            kept.insert(Arc::clone(group), (made_of, guard));
        }
        for gone in made.keys().filter(|group| !kept.contains_key(*group)) {
            self.metrics.end(gone);
        }
        *made = kept;
        answer
    }

    /// Loads in flight, by group.
    #[must_use]
    pub fn in_flight(&self) -> Vec<(Arc<str>, u64)> {
        self.made.lock().iter().map(|(group, (_, guard))| (Arc::clone(group), guard.in_flight())).collect()
    }

    /// What the circuit breaker of each group's loader lets through.
    #[must_use]
    pub fn circuits(&self) -> Vec<(Arc<str>, Circuit)> {
        self.made.lock().iter().map(|(group, (_, guard))| (Arc::clone(group), guard.circuit())).collect()
    }

    /// How the loader of each group does.
    #[must_use]
    pub fn states(&self) -> Vec<LoaderState> {
        let made = self.made.lock();
        let mut states: Vec<LoaderState> = made
            .iter()
            .map(|(group, ((_, settings), guard))| state(group, &settings.name, guard.health()))
            .collect();
        states.sort_by(|a, b| a.group.cmp(&b.group));
        states
    }

    fn guard(&self, group: &Arc<str>, max_value_bytes: usize, settings: &LoaderSettings) -> Guard {
        let name = settings.name.clone();
        let room = self.room.group();
        let inner: Box<dyn Loader> = match &settings.kind {
            LoaderKind::Grpc { target, authority } => {
                let (target, authority) = (target.clone(), authority.as_deref());
                Box::new(GrpcLoader::new(name, target, authority, settings.max_in_flight, room))
            }
            LoaderKind::Http(template) => {
                Box::new(HttpLoader::new(name, template.clone(), max_value_bytes, room))
            }
        };
        Guard::new(inner, group, settings, self.metrics.clone())
    }
}

fn state(group: &str, loader: &str, health: Health) -> LoaderState {
    let (reach, failure) = match health {
        Health::NotAsked => (LoaderReach::NotAsked, String::new()),
        Health::Answers => (LoaderReach::Answers, String::new()),
        Health::Fails(failure) => (LoaderReach::Fails, failure.to_string()),
    };
    LoaderState { group: group.to_owned(), loader: loader.to_owned(), reach: reach.into(), failure }
}
