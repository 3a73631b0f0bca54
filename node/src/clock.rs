//! The clock that goes on while the machine sleeps.

use std::time::Duration;

use groupcache_group::clock::Clock;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// The machine's boot-time clock, told in the runtime's instants.
///
/// A virtual machine that was suspended goes on with what it held; by this clock, and not by the monotonic one, it knows how long that was.
#[must_use]
pub fn boot_time() -> Clock {
    let (base, origin) = (Instant::now(), since_boot());
    Clock::new(move || base + since_boot().saturating_sub(origin))
}

fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_like_the_runtimes_clock_while_the_machine_is_awake() {
        let clock = boot_time();
        let apart = |one: Instant, other: Instant| one.max(other) - one.min(other);
        assert!(apart(clock.now(), Instant::now()) < Duration::from_secs(1));
        let before = clock.now();
        assert!(clock.now() >= before);
    }
}
