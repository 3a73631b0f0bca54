//! Loaders from the wire, checked: where they are, their bounds, their tries and their circuit breaker.

use std::collections::HashMap;
use std::time::Duration;

use groupcache_proto::cluster::{self, loader::Kind};

use crate::configuration::{
    BreakerSettings, Faults, LoaderKind, LoaderSettings, MAX_NAME_BYTES, check_time, millis, not_served, or,
    shown,
};
use crate::loader::template::UrlTemplate;

/// Most loaders of one cluster.
pub const MAX_LOADERS: usize = 16;

const DEFAULT_LOAD_TIMEOUT: Duration = Duration::from_secs(1);
const DEFAULT_QUEUE_TIMEOUT: Duration = Duration::from_millis(250);
const DEFAULT_IN_FLIGHT: u32 = 64;
const DEFAULT_QUEUED: u32 = 256;
const DEFAULT_FAILURE_PERCENT: u32 = 50;
const DEFAULT_WINDOW_SECONDS: u32 = 10;
const DEFAULT_OPEN_SECONDS: u32 = 5;

/// Most tries of one load: what does not come back within five will not within one timeout.
const MAX_ATTEMPTS: u32 = 5;

/// The loaders by name; `None`: it is there, but faulty.
pub(super) fn check_loaders<'a>(
    wire: &'a [cluster::Loader],
    faults: &mut Faults,
) -> HashMap<&'a str, Option<LoaderSettings>> {
    faults.unless(
        wire.len() <= MAX_LOADERS,
        "configuration",
        format!("{} loaders; at most {MAX_LOADERS} are allowed", wire.len()),
    );
    let mut loaders = HashMap::new();
    for loader in wire {
        let place = format!("loader {}", shown(&loader.name));
        let checked = check_loader(loader, &place, faults);
        if loaders.insert(loader.name.as_str(), checked).is_some() {
            faults.add(place, "the name stands twice");
        }
    }
    loaders
}

fn check_loader(loader: &cluster::Loader, place: &str, faults: &mut Faults) -> Option<LoaderSettings> {
    let before = faults.0.len();
    faults.unless(
        is_loader_name(&loader.name),
        place,
        format!("a loader's name is 1 to {MAX_NAME_BYTES} of [a-z0-9-]"),
    );
    let timeout = millis(loader.timeout_ms).unwrap_or(DEFAULT_LOAD_TIMEOUT);
    let queue_timeout = millis(loader.queue_timeout_ms).unwrap_or(DEFAULT_QUEUE_TIMEOUT);
    check_time(faults, place, "timeout", timeout);
    check_time(faults, place, "queueTimeout", queue_timeout);
    faults.unless(
        loader.max_attempts <= MAX_ATTEMPTS,
        place,
        format!("maxAttempts is {}; it is 1 to {MAX_ATTEMPTS}", loader.max_attempts),
    );
    let breaker = check_breaker(loader.circuit_breaker.unwrap_or_default(), place, faults);
    let kind = match &loader.kind {
        Some(Kind::Grpc(grpc)) => check_target(&grpc.target).map(|target| LoaderKind::Grpc {
            target,
            authority: Some(grpc.authority.clone()).filter(|authority| !authority.is_empty()),
        }),
        Some(Kind::Http(http)) => {
            UrlTemplate::parse(&http.url).map(LoaderKind::Http).map_err(|e| e.to_string())
        }
        Some(Kind::Sql(_)) => Err(not_served("the kind sql")),
        None => Err("it has no kind; give grpc or http".to_owned()),
    };
    let kind = kind.map_err(|what| faults.add(place, what)).ok()?;
    (faults.0.len() == before).then(|| LoaderSettings {
        name: loader.name.clone(),
        kind,
        timeout,
        max_in_flight: or(loader.max_in_flight, DEFAULT_IN_FLIGHT),
        max_queued: or(loader.max_queued, DEFAULT_QUEUED),
        queue_timeout,
        max_attempts: loader.max_attempts.max(1),
        breaker,
    })
}

/// A breaker that is not named is one with every default: a source that is down is not asked all the same.
fn check_breaker(wire: cluster::CircuitBreaker, place: &str, faults: &mut Faults) -> BreakerSettings {
    let or = |value, default| if value == 0 { default } else { value };
    let seconds = |value, default| Duration::from_secs(u64::from(or(value, default)));
    let breaker = BreakerSettings {
        failure_percent: or(wire.failure_percent, DEFAULT_FAILURE_PERCENT),
        window: seconds(wire.window_seconds, DEFAULT_WINDOW_SECONDS),
        open: seconds(wire.open_seconds, DEFAULT_OPEN_SECONDS),
    };
    faults.unless(
        breaker.failure_percent <= 100,
        place,
        format!("circuitBreaker.failurePercent is {}; it is 1 to 100", breaker.failure_percent),
    );
    check_time(faults, place, "circuitBreaker.windowSeconds", breaker.window);
    check_time(faults, place, "circuitBreaker.openSeconds", breaker.open);
    breaker
}

/// Host and port of `host:port` or `dns:///host:port`.
pub(super) fn check_target(target: &str) -> Result<String, String> {
    let address = target.strip_prefix("dns:///").unwrap_or(target);
    let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        !host.is_empty() && host.chars().all(allowed) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if sound {
        Ok(address.to_owned())
    } else {
        Err(format!("the target {target:?} is not host:port or dns:///host:port"))
    }
}

fn is_loader_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
}
