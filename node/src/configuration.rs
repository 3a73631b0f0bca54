//! Configuration: groups, loaders and rules from the wire, checked once; every fault is named.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_group::grants::DEFAULT_BOUND;
use groupcache_group::group::{self, Settings, StoreKind};
use groupcache_proto::cluster::{self, AbandonedLoads, GroupMode, QuorumLoss};
use thiserror::Error;

use crate::access::rules::Ruling;
use crate::configuration::access::check_access;
use crate::configuration::loaders::check_loaders;
use crate::loader::template::UrlTemplate;

mod access;
mod loaders;

pub use access::MAX_TOKENS;
pub use loaders::MAX_LOADERS;

/// Longest name of a group or loader, in bytes.
pub const MAX_NAME_BYTES: usize = 63;

/// Most groups of one cluster.
pub const MAX_GROUPS: usize = 64;

/// Largest value any group may hold: twice what gRPC clients accept unless told.
pub const MAX_VALUE_BYTES: u32 = 8 << 20;

/// Longest key any group may have.
pub const MAX_KEY_BYTES: u32 = 8 << 10;

/// Largest part of a ttl in which hits refresh: earlier than half of it, a refresh would be a shorter ttl.
const MAX_EARLY_PERCENT: u32 = 50;

/// Longest time that a source may lag behind: purges are on record for so long, and a new process keeps nothing before.
const MAX_SOURCE_LAG: Duration = Duration::from_secs(300);

/// Largest share of a group's budget for copies of other owners' keys.
const MAX_HOT_PERCENT: u32 = 50;

const DEFAULT_KEY_BYTES: u32 = 1 << 10;
const DEFAULT_VALUE_BYTES: u32 = 1 << 20;
const DEFAULT_PURGE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest window of a purge: for so long what is fetched of a purged key is not kept.
pub const MAX_PURGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time any setting may name: what is longer is a mistake in the unit.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// A configuration without a fault.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// Each group with its loader.
    pub groups: Vec<(Settings, LoaderSettings)>,
    /// For how long a grant lasts.
    pub staleness_bound: Duration,
    /// Who may call the data port.
    pub access: Ruling,
}

/// One loader as one group uses it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderSettings {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub kind: LoaderKind,
    /// For one load.
    pub timeout: Duration,
    /// Loads in flight for one group at this node.
    pub max_in_flight: usize,
    /// Loads of one group that wait for a place.
    pub max_queued: usize,
    /// How long a load waits for a place.
    pub queue_timeout: Duration,
    /// Tries of one load, the first included; all of them within the timeout.
    pub max_attempts: u32,
    /// When loads are not sent any more.
    pub breaker: BreakerSettings,
}

/// When a loader that fails is not asked any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerSettings {
    /// Percent of the loads in the window that must fail.
    pub failure_percent: u32,
    /// What is looked at.
    pub window: Duration,
    /// How long no load is sent before one is tried.
    pub open: Duration,
}

/// How a loader is reached.
#[derive(Clone, Debug, PartialEq)]
pub enum LoaderKind {
    /// A service that speaks `groupcache.loader.v1`.
    Grpc {
        /// Host and port.
        target: String,
        /// The authority to send, if not the target's.
        authority: Option<String>,
    },
    /// A service that answers GET with the value.
    Http(UrlTemplate),
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct Fault {
    /// Which group, loader or field.
    pub place: String,
    /// What is wrong with it, and what would be right.
    pub what: String,
}

/// Collects faults as they are found.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.0.push(Fault { place: place.into(), what: what.into() });
    }

    fn unless(&mut self, holds: bool, place: &str, what: impl Into<String>) {
        if !holds {
            self.add(place, what);
        }
    }
}

/// The parts of a configuration, where the groups' budgets may add up to `group_bytes`.
///
/// # Errors
/// Every fault found.
pub fn check(wire: &cluster::Configuration, group_bytes: u64) -> Result<Checked, Vec<Fault>> {
    let mut faults = Faults::default();
    let loaders = check_loaders(&wire.loaders, &mut faults);
    check_names(&wire.groups, &mut faults);
    let purge_timeout = millis(wire.purge_timeout_ms).unwrap_or(DEFAULT_PURGE_TIMEOUT);
    faults.unless(
        purge_timeout <= MAX_PURGE_TIMEOUT,
        "configuration",
        format!(
            "purgeTimeout is {} s; it is at most {} s: no node keeps a window open for longer",
            purge_timeout.as_secs(),
            MAX_PURGE_TIMEOUT.as_secs()
        ),
    );
    let staleness_bound = millis(wire.staleness_bound_ms).unwrap_or(DEFAULT_BOUND);
    check_time(&mut faults, "configuration", "stalenessBound", staleness_bound);
    faults.unless(
        staleness_bound >= purge_timeout,
        "configuration",
        format!(
            "stalenessBound is {} ms and purgeTimeout {} ms: with a bound below it Removes would not hold; raise the one or lower the other",
            staleness_bound.as_millis(),
            purge_timeout.as_millis()
        ),
    );

    let sum = wire.groups.iter().fold(0u64, |sum, group| sum.saturating_add(group.max_bytes));
    faults.unless(
        sum <= group_bytes,
        "configuration",
        format!(
            "the groups' budgets add up to {sum} bytes; this node has {group_bytes} bytes for groups: lower maxBytes or raise the memory limit"
        ),
    );
    let mut groups = Vec::new();
    for group in &wire.groups {
        let place = format!("group {}", shown(&group.name));
        check_group(group, &place, &mut faults);
        match loaders.get(group.loader.as_str()) {
            None if group.loader.is_empty() => faults.add(
                &place,
                "it names no loader; a group without one is not served yet: name one of the loaders",
            ),
            None => faults.add(
                &place,
                format!("it names the loader {}, which is not among the loaders", shown(&group.loader)),
            ),
            Some(Some(loader)) => groups.push((settings(group, loader, purge_timeout), loader.clone())),
            // Its faults are named already.
            Some(None) => {}
        }
    }
    let access = check_access(wire, &mut faults);
    if faults.0.is_empty() { Ok(Checked { groups, staleness_bound, access }) } else { Err(faults.0) }
}

fn check_names(groups: &[cluster::Group], faults: &mut Faults) {
    faults.unless(
        groups.len() <= MAX_GROUPS,
        "configuration",
        format!("{} groups; at most {MAX_GROUPS} are allowed", groups.len()),
    );
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for group in groups {
        for name in std::iter::once(&group.name).chain(&group.aliases) {
            if let Some(first) = taken.insert(name, &group.name) {
                faults.add(
                    format!("group {}", shown(&group.name)),
                    format!("the name or alias {} is also group {}'s", shown(name), shown(first)),
                );
            }
        }
    }
}

fn check_group(group: &cluster::Group, place: &str, faults: &mut Faults) {
    faults.unless(
        is_group_name(&group.name),
        place,
        format!("a group's name is 1 to {MAX_NAME_BYTES} of [A-Za-z0-9._-]"),
    );
    faults.unless(group.aliases.iter().all(|alias| !alias.is_empty()), place, "an alias is empty");
    faults.unless(
        group.max_bytes > 0,
        place,
        "maxBytes is 0; give the bytes of memory it may use on each node",
    );
    faults.unless(
        group.hot_percent <= MAX_HOT_PERCENT,
        place,
        format!("hotPercent is {}; it is 0 to {MAX_HOT_PERCENT}", group.hot_percent),
    );
    faults.unless(
        group.max_key_bytes <= MAX_KEY_BYTES,
        place,
        format!("maxKeyBytes is {}; it is at most {MAX_KEY_BYTES}", group.max_key_bytes),
    );
    faults.unless(
        group.max_value_bytes <= MAX_VALUE_BYTES,
        place,
        format!("maxValueBytes is {}; it is at most {MAX_VALUE_BYTES}", group.max_value_bytes),
    );
    faults.unless(
        group.early_refresh_percent <= MAX_EARLY_PERCENT,
        place,
        format!("earlyRefreshPercent is {}; it is 0 to {MAX_EARLY_PERCENT}", group.early_refresh_percent),
    );
    let lag = Duration::from_millis(group.source_lag_ms);
    faults.unless(
        lag <= MAX_SOURCE_LAG,
        place,
        format!("sourceLag is {} s; it is at most {} s", lag.as_secs(), MAX_SOURCE_LAG.as_secs()),
    );
    check_served(group, place, faults);
}

/// What the wire can say and this release does not serve.
fn check_served(group: &cluster::Group, place: &str, faults: &mut Faults) {
    let mode = GroupMode::try_from(group.mode);
    let loss = QuorumLoss::try_from(group.on_quorum_loss);
    let abandoned = AbandonedLoads::try_from(group.abandoned_loads);
    for (asked, feature) in [
        (!matches!(mode, Ok(GroupMode::Unspecified | GroupMode::Owned)), "a mode other than Owned"),
        (loss.is_err(), "an onQuorumLoss other than PassThrough and ServeStale"),
        (abandoned.is_err(), "an abandonedLoads other than Finish and Cancel"),
    ] {
        faults.unless(!asked, place, not_served(feature));
    }
}

fn settings(group: &cluster::Group, loader: &LoaderSettings, purge_timeout: Duration) -> Settings {
    Settings {
        name: Arc::from(group.name.as_str()),
        aliases: group.aliases.clone(),
        max_bytes: group.max_bytes,
        hot_percent: group.hot_percent,
        store: StoreKind::default(),
        ttl: millis(group.ttl_ms),
        negative_ttl: millis(group.negative_ttl_ms),
        stale_while_revalidate: Duration::from_millis(group.stale_while_revalidate_ms),
        stale_if_error: Duration::from_millis(group.stale_if_error_ms),
        early_refresh_percent: group.early_refresh_percent,
        source_lag: Duration::from_millis(group.source_lag_ms),
        abandoned_loads: match group.abandoned_loads() {
            AbandonedLoads::Cancel => group::AbandonedLoads::Cancel,
            AbandonedLoads::Unspecified | AbandonedLoads::Finish => group::AbandonedLoads::Finish,
        },
        max_key_bytes: or(group.max_key_bytes, DEFAULT_KEY_BYTES),
        max_value_bytes: or(group.max_value_bytes, DEFAULT_VALUE_BYTES),
        // The wait for a place comes before the load itself.
        load_timeout: loader.timeout + loader.queue_timeout,
        purge_timeout,
        on_quorum_loss: match QuorumLoss::try_from(group.on_quorum_loss) {
            Ok(QuorumLoss::ServeStale) => group::QuorumLoss::ServeStale,
            _ => group::QuorumLoss::PassThrough,
        },
    }
}

fn check_time(faults: &mut Faults, place: &str, field: &str, time: Duration) {
    faults.unless(
        time <= MAX_TIMEOUT,
        place,
        format!("{field} is {} s; it is at most {} s", time.as_secs(), MAX_TIMEOUT.as_secs()),
    );
}

fn not_served(feature: &str) -> String {
    format!("{feature} is not served by this release; leave it out")
}

/// True for 1 to 63 of `[A-Za-z0-9._-]`.
#[must_use]
pub fn is_group_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}

/// A name for a message: quoted, and cut where it is over-long.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(MAX_NAME_BYTES).collect();
    if cut.len() < name.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

fn millis(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

fn or(value: u32, default: u32) -> usize {
    if value == 0 { default as usize } else { value as usize }
}

#[cfg(test)]
mod tests;
