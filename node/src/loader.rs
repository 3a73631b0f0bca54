//! The loaders: adapters from the group's seam to services that know the truth.
//!
//! * [`grpc`]: a service that speaks `groupcache.loader.v1`; [`addresses`] are where it lives.
//! * [`http`]: a service that answers GET; [`template`] is its URL, [`reach`] where it may not be.
//! * [`guard`]: bounds and timeout around any of them, per group.

use std::collections::HashMap;
use std::sync::Arc;

use groupcache_group::loader::Loader;
use parking_lot::Mutex;

use crate::configuration::{LoaderKind, LoaderSettings};
use crate::loader::grpc::GrpcLoader;
use crate::loader::guard::Guard;
use crate::loader::http::HttpLoader;
use crate::memory::InFlightBytes;
use crate::metrics::LoadMetrics;

pub mod addresses;
mod failure;
pub mod grpc;
pub mod guard;
pub mod http;
pub mod reach;
pub mod template;

/// A loader of one group, with what it was made of.
type Made = ((usize, LoaderSettings), Arc<Guard>);

/// The loaders in use. One that stays the same over a change of configuration keeps its connections and its count of loads in flight.
#[derive(Debug)]
pub struct Loaders {
    in_flight: InFlightBytes,
    metrics: LoadMetrics,
    made: Mutex<HashMap<Arc<str>, Made>>,
}

impl Loaders {
    /// No loader yet; what they read is taken from `in_flight`.
    #[must_use]
    pub fn new(in_flight: InFlightBytes, metrics: LoadMetrics) -> Self {
        Loaders { in_flight, metrics, made: Mutex::default() }
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

    fn guard(&self, group: &Arc<str>, max_value_bytes: usize, settings: &LoaderSettings) -> Guard {
        let name = settings.name.clone();
        let inner: Box<dyn Loader> = match &settings.kind {
            LoaderKind::Grpc { target, authority } => Box::new(GrpcLoader::new(
                name,
                target.clone(),
                authority.as_deref(),
                max_value_bytes,
                self.in_flight.clone(),
            )),
            LoaderKind::Http(template) => {
                Box::new(HttpLoader::new(name, template.clone(), max_value_bytes, self.in_flight.clone()))
            }
        };
        Guard::new(inner, group, settings, self.metrics.clone())
    }
}
