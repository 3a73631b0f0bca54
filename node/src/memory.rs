//! Memory: what the container may use, the groups' share of it, and the budget for bytes in flight.

use std::fmt;
use std::fs;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Percent of the limit that the groups' budgets may add up to, unless told: the rest is for bytes in flight, connections and the allocator.
pub const DEFAULT_GROUPS_PERCENT: u32 = 75;

/// One part of this many of the limit may be in flight: loads, fetches and answers.
const IN_FLIGHT_PART: u64 = 8;

/// What is in flight is counted in these, because a semaphore's counts are small numbers.
const UNIT_BYTES: u64 = 1024;

/// A limit above this is "no limit": control groups of version 1 say so with a number near 2^63.
const UNLIMITED_BYTES: u64 = 1 << 50;

/// What is assumed where neither a limit nor the machine's memory can be read.
const FALLBACK_BYTES: u64 = 512 << 20;

/// How much memory there is, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// What the process may use, in bytes.
    pub limit: u64,
    /// What the groups' budgets may add up to, in bytes.
    pub groups: u64,
    /// What may be in flight at once, in bytes: answers of loaders, answers to clients, and what clients send.
    pub in_flight: u64,
    /// Where the limit was found.
    pub origin: Origin,
}

/// Where the limit was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was told.
    Told,
    /// The container's control group.
    ControlGroup,
    /// The machine's memory: no container limit is set.
    Machine,
    /// Nowhere: a cautious guess.
    Guess,
}

impl Memory {
    /// What there is: `told` if given, else the container's limit, else the machine's memory.
    #[must_use]
    pub fn detect(told: Option<u64>, groups_percent: u32) -> Self {
        let (limit, origin) = match told {
            Some(limit) => (limit, Origin::Told),
            None => match (control_group(), machine()) {
                (Some(limit), _) => (limit, Origin::ControlGroup),
                (None, Some(limit)) => (limit, Origin::Machine),
                (None, None) => (FALLBACK_BYTES, Origin::Guess),
            },
        };
        Memory { limit, groups: percent_of(limit, groups_percent), in_flight: limit / IN_FLIGHT_PART, origin }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Told => "as told",
            Origin::ControlGroup => "the container's limit",
            Origin::Machine => "the machine's memory; no container limit is set",
            Origin::Guess => "a guess; no limit could be read",
        };
        write!(
            f,
            "{} bytes ({origin}), {} of them for groups, {} for what is in flight",
            self.limit, self.groups, self.in_flight
        )
    }
}

/// A budget of bytes that are being answered; what loaders read has its own, `loader::room`. Cheap to clone; clones share it.
#[derive(Clone, Debug)]
pub struct InFlightBytes {
    units: Arc<Semaphore>,
    total: u32,
}

/// Bytes taken from the budget, given back when dropped.
#[derive(Debug, Default)]
pub struct Reserved {
    permit: Option<OwnedSemaphorePermit>,
}

impl InFlightBytes {
    /// A budget of that many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).clamp(1, MAX_UNITS);
        InFlightBytes { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Takes `bytes`, and waits for them if others hold them. More than the whole budget counts as the whole.
    pub async fn reserve(&self, bytes: u64) -> Reserved {
        // The semaphore is never closed; without a permit the bytes would only go uncounted.
        Reserved { permit: Arc::clone(&self.units).acquire_many_owned(self.units_of(bytes)).await.ok() }
    }

    /// Makes `reserved` as large as `bytes` if the rest is free now; false: it is not, and stays as it was. More than the whole budget counts as the
    /// whole.
    #[must_use]
    pub fn grow(&self, reserved: &mut Reserved, bytes: u64) -> bool {
        let held = reserved.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = self.units_of(bytes).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        if more == 0 {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.units).try_acquire_many_owned(more) else { return false };
        match &mut reserved.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        true
    }

    fn units_of(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX).min(self.total)
    }

    /// Bytes that are taken now.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let free = u32::try_from(self.units.available_permits()).unwrap_or(u32::MAX);
        u64::from(self.total.saturating_sub(free)) * UNIT_BYTES
    }
}

/// Most units of the budget: what a semaphore can count, far above any container.
const MAX_UNITS: u32 = 1 << 28;

/// Why a text is no number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is no number of bytes; give bytes, or a number with Ki, Mi, Gi, k, M or G")]
pub struct NotBytes(String);

/// Reads `268435456`, `256Mi` or `256M`.
///
/// # Errors
/// If it is none of these.
pub fn parse_bytes(text: &str) -> Result<u64, NotBytes> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match &text[digits.len()..] {
        "" | "B" => 1,
        "k" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        _ => return Err(NotBytes(text.to_owned())),
    };
    digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(|| NotBytes(text.to_owned()))
}

fn control_group() -> Option<u64> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limits_of(&own).into_iter().filter_map(|path| fs::read_to_string(path).ok()).find_map(|text| limit(&text))
}

/// The files that may hold the limit, best first: inside a container the group is mounted as the root, outside it has its own path.
fn limits_of(own: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        if let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) {
            let path = path.trim_end_matches('/');
            if controllers.is_empty() {
                files.push(format!("/sys/fs/cgroup{path}/memory.max"));
            } else if controllers.split(',').any(|c| c == "memory") {
                files.push(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
            }
        }
    }
    files.push("/sys/fs/cgroup/memory.max".to_owned());
    files.push("/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned());
    files
}

fn limit(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED_BYTES)
}

fn machine() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// To the byte, as the rule of the CacheCluster reckons: what passes there must fit here.
fn percent_of(limit: u64, percent: u32) -> u64 {
    let share = u128::from(limit) * u128::from(percent.min(100)) / 100;
    u64::try_from(share).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_exact_to_the_byte() {
        assert_eq!(percent_of(256 << 20, 75), 192 << 20);
        assert_eq!(percent_of(u64::MAX, 100), u64::MAX);
    }

    #[test]
    fn bytes_are_read_with_and_without_a_unit() {
        assert_eq!(parse_bytes("1048576"), Ok(1 << 20));
        assert_eq!(parse_bytes("256Mi"), Ok(256 << 20));
        assert_eq!(parse_bytes("2G"), Ok(2_000_000_000));
        for wrong in ["", "Mi", "-1", "1.5Gi", "12 parsecs", "99999999999Gi"] {
            assert!(parse_bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_versions_of_control_groups_are_looked_for() {
        let v1 = limits_of("5:cpu,memory:/kubepods/pod1\n");
        assert_eq!(v1[0], "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes");
        assert_eq!(limits_of("0::/\n")[0], "/sys/fs/cgroup/memory.max");
        assert_eq!(limit("max\n"), None);
        assert_eq!(limit("9223372036854771712\n"), None);
        assert_eq!(limit("268435456\n"), Some(256 << 20));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_flight_waits_for_room() {
        let budget = InFlightBytes::new(1 << 20);
        let first = budget.reserve(1 << 20).await;
        assert_eq!(budget.taken(), 1 << 20);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(1), budget.reserve(1)).await;
        assert!(waited.is_err());
        drop(first);
        // More than there is counts as all there is, so that it is answered at all.
        let _all = budget.reserve(64 << 20).await;
        assert_eq!(budget.taken(), 1 << 20);
    }

    #[test]
    fn a_place_grows_while_there_is_room_and_stays_as_it_was_when_there_is_none() {
        let budget = InFlightBytes::new(1 << 20);
        let (mut first, mut second) = (Reserved::default(), Reserved::default());
        assert!(budget.grow(&mut first, 256 << 10) && budget.grow(&mut first, 512 << 10));
        assert!(budget.grow(&mut first, 1), "it is as large as that already");
        assert!(budget.grow(&mut second, 512 << 10));
        assert!(!budget.grow(&mut first, 1 << 20));
        assert_eq!(budget.taken(), 1 << 20);
        drop(second);
        assert!(budget.grow(&mut first, 64 << 20), "more than there is counts as all there is");
        drop(first);
        assert_eq!(budget.taken(), 0);
    }
}
