//! The exporter: reads every group's counters at each scrape, so that counting itself costs a Get nothing more.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use groupcache_group::group::Group;
use groupcache_group::groups::Groups;
use groupcache_group::stats::{Sizes, Stats};
use groupcache_ring::State;
use groupcache_tls::keeper::Keeper;
use groupcache_tls::shown::Shown;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::loader::Loaders;
use crate::loader::breaker::Circuit;
use crate::loader::room::Room;
use crate::metrics::table::{Kind, METRICS};
use crate::transport::incoming::Incoming;
use crate::transport::outgoing::Outgoing;

/// The labels and value of one sample.
type Sample = (Vec<(&'static str, String)>, u64);

/// A label besides the group's, and a value.
type Part = (Option<(&'static str, &'static str)>, u64);

/// A hash is exported in this many bits: what a scraper's floating-point number holds exactly.
const EXACT_BITS: u32 = 52;

/// Reads groups, loaders and the view when scraped.
pub struct Exporter {
    /// The groups.
    pub groups: Arc<Groups>,
    /// The loaders.
    pub loaders: Arc<Loaders>,
    /// The room for what loaders answer.
    pub room: Room,
    /// The budget of bytes that are being answered.
    pub outgoing: Outgoing,
    /// The budget of bytes that are being received.
    pub incoming: Incoming,
    /// What the cluster port shows, where it shows anything.
    pub certificates: Option<Keeper>,
    /// What the data port shows, where it shows anything.
    pub shown: Option<Keeper<Shown>>,
    /// Whether the node is ready, and whether it drains.
    pub state: Box<dyn Fn() -> (bool, bool) + Send + Sync>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Collector for Exporter {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let groups: Vec<_> = self.groups.all().into_iter().map(|group| Read::of(&group)).collect();
        for row in METRICS {
            let samples = self.of_groups(row.name, &groups).or_else(|| self.of_node(row.name));
            // The others are counted where they happen.
            let Some(samples) = samples else { continue };
            let kind = if row.kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
            let unit = row.unit();
            let mut family = to.encode_descriptor(row.stem(), row.help, unit.as_ref(), kind)?;
            for (labels, value) in samples {
                let sample = family.encode_family(&labels)?;
                match row.kind {
                    Kind::Counter => ConstCounter::new(value).encode(sample)?,
                    _ => ConstGauge::new(value).encode(sample)?,
                }
            }
        }
        Ok(())
    }
}

/// What one group says of itself.
struct Read {
    name: String,
    budget: u64,
    stats: Stats,
    sizes: Sizes,
}

impl Read {
    fn of(group: &Arc<Group>) -> Self {
        let settings = group.settings();
        Read {
            name: settings.name.to_string(),
            budget: settings.max_bytes,
            stats: group.stats(),
            sizes: group.sizes(),
        }
    }
}

impl Exporter {
    fn of_groups(&self, name: &str, groups: &[Read]) -> Option<Vec<Sample>> {
        let read: fn(&Read) -> Vec<Part> = match name {
            "groupcache_gets_total" => by_result,
            "groupcache_peer_gets_total" => |g| vec![(None, g.stats.peer_gets)],
            "groupcache_get_many_total" => |g| vec![(None, g.stats.get_manys)],
            "groupcache_load_many_total" => |g| vec![(None, g.stats.load_manys)],
            "groupcache_load_many_keys_total" => |g| vec![(None, g.stats.load_many_keys)],
            "groupcache_not_found_total" => |g| vec![(None, g.stats.not_found)],
            "groupcache_fetch_failures_total" => |g| vec![(None, g.stats.fetch_failures)],
            "groupcache_second_owner_fetches_total" => |g| vec![(None, g.stats.second_owner_fetches)],
            "groupcache_loads_total" => |g| vec![(None, g.stats.loads)],
            "groupcache_load_failures_total" => |g| vec![(None, g.stats.load_failures)],
            "groupcache_stale_on_error_total" => |g| vec![(None, g.stats.stale_on_error)],
            "groupcache_refreshes_total" => |g| vec![(None, g.stats.refreshes)],
            "groupcache_refresh_failures_total" => |g| vec![(None, g.stats.refresh_failures)],
            "groupcache_fenced_total" => |g| vec![(None, g.stats.fenced)],
            "groupcache_oversize_total" => |g| vec![(None, g.stats.oversize)],
            "groupcache_no_room_total" => |g| vec![(None, g.stats.no_room)],
            "groupcache_window_overflows_total" => |g| vec![(None, g.stats.window_overflows)],
            "groupcache_removes_total" => {
                |g| by("outcome", ["ok", "partial"], [g.stats.removes, g.stats.removes_partial])
            }
            "groupcache_removes_barred_total" => |g| vec![(None, g.stats.removes_barred)],
            "groupcache_sets_total" => {
                |g| by("outcome", ["ok", "failed"], [g.stats.sets, g.stats.sets_failed])
            }
            "groupcache_flushes_total" => |g| vec![(None, g.stats.flushes)],
            "groupcache_lapses_total" => |g| vec![(None, g.stats.lapses)],
            "groupcache_passed_through_total" => |g| vec![(None, g.stats.passed_through)],
            "groupcache_purged_keys_total" => |g| vec![(None, g.stats.purged_keys)],
            "groupcache_peeks_total" => |g| vec![(None, g.stats.peeks)],
            "groupcache_peek_hits_total" => |g| vec![(None, g.stats.peek_hits)],
            "groupcache_offered_total" => |g| vec![(None, g.stats.offered)],
            "groupcache_taken_over_total" => |g| vec![(None, g.stats.taken_over)],
            "groupcache_evictions_total" => |g| vec![(None, g.stats.evictions)],
            "groupcache_cache_entries" => {
                |g| by("cache", ["main", "hot"], [g.sizes.main_entries, g.sizes.hot_entries])
            }
            "groupcache_cache_bytes" => {
                |g| by("cache", ["main", "hot"], [g.sizes.main_bytes, g.sizes.hot_bytes])
            }
            "groupcache_cache_budget_bytes" => |g| vec![(None, g.budget)],
            "groupcache_flights" => |g| vec![(None, g.sizes.flights)],
            _ => return None,
        };
        let mut samples = Vec::new();
        for group in groups {
            for (label, value) in read(group) {
                let mut labels = vec![("group", group.name.clone())];
                labels.extend(label.map(|(name, value)| (name, value.to_owned())));
                samples.push((labels, value));
            }
        }
        Some(samples)
    }

    fn of_node(&self, name: &str) -> Option<Vec<Sample>> {
        let view = self.groups.view();
        let version = view.as_ref().map(|view| view.version()).unwrap_or_default();
        let one = |value: u64| Some(vec![(Vec::new(), value)]);
        match name {
            "groupcache_loads_in_flight" => {
                let labelled = |(group, loads): (Arc<str>, u64)| (vec![("group", group.to_string())], loads);
                Some(self.loaders.in_flight().into_iter().map(labelled).collect())
            }
            "groupcache_load_breaker" => {
                let number = |(group, circuit): (Arc<str>, Circuit)| {
                    let number = match circuit {
                        Circuit::Closed => 0,
                        Circuit::HalfOpen => 1,
                        Circuit::Open => 2,
                    };
                    (vec![("group", group.to_string())], number)
                };
                Some(self.loaders.circuits().into_iter().map(number).collect())
            }
            "groupcache_in_flight_bytes" => one(self.room.taken()),
            "groupcache_outgoing_bytes" => one(self.outgoing.taken()),
            "groupcache_incoming_bytes" => one(self.incoming.taken()),
            "groupcache_serving_copies" => one(u64::from(self.groups.grants().serves_now())),
            "groupcache_barred_nodes" => {
                one(u64::try_from(self.groups.grants().barred()).unwrap_or(u64::MAX))
            }
            "groupcache_certificate_expiry_timestamp_seconds" => {
                Some(until(self.certificates.as_ref().map(|keeper| keeper.current().not_after)))
            }
            "groupcache_data_certificate_expiry_timestamp_seconds" => {
                Some(until(self.shown.as_ref().map(|keeper| keeper.current().not_after)))
            }
            "groupcache_view_epoch" => one(version.epoch),
            "groupcache_view_sequence" => one(version.sequence),
            "groupcache_ring_hash" => one(view.map_or(0, |view| view.ring_hash() >> (64 - EXACT_BITS))),
            "groupcache_ready" => one(u64::from((self.state)().0)),
            "groupcache_draining" => one(u64::from((self.state)().1)),
            "groupcache_members" => {
                let of = |state: State| {
                    let members = view.as_ref().map_or(&[][..], |view| view.snapshot().members());
                    let count = members.iter().filter(|member| member.state == state).count() as u64;
                    (vec![("state", state.as_str().to_lowercase())], count)
                };
                Some([State::Joining, State::Active, State::Draining].map(of).to_vec())
            }
            _ => None,
        }
    }
}

/// A moment in seconds since 1970, if there is one.
fn until(at: Option<SystemTime>) -> Vec<Sample> {
    let seconds = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    at.map(|at| (Vec::new(), seconds(at))).into_iter().collect()
}

/// How Gets ended: each in exactly one way.
fn by_result(group: &Read) -> Vec<Part> {
    let stats = &group.stats;
    let ends = [
        ("main", stats.main_hits),
        ("hot", stats.hot_hits),
        ("stale", stats.stale_hits),
        ("peer", stats.fetches),
        ("load", stats.loaded),
        ("joined", stats.joined),
        ("error", stats.failed),
        ("deadline", stats.deadline_exceeded),
        ("not_ready", stats.not_ready),
        ("abandoned", stats.abandoned),
    ];
    ends.into_iter().map(|(result, count)| (Some(("result", result)), count)).collect()
}

fn by(label: &'static str, words: [&'static str; 2], values: [u64; 2]) -> Vec<Part> {
    words.into_iter().zip(values).map(|(word, value)| (Some((label, word)), value)).collect()
}
