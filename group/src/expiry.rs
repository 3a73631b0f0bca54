//! Until when an answer may be used: the shorter of what the group and the loader allow.
//!
//! Times are spread, so that keys filled together do not expire together.

use std::time::Duration;

use tokio::time::Instant;

/// What a node keeps of a key that it does not own lives no longer than this: the owner's purges and ttl are what counts.
pub(crate) const NON_OWNER_TTL: Duration = Duration::from_secs(3);

/// The most that jitter takes off a ttl: one part in ten. It never adds.
const JITTER_SHARE: u32 = 10;

/// Further than anybody waits, and near enough for any clock to count: 30 years.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// So long after `now`; what is beyond [`FAR`] is as good as never.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(FAR)
}

/// When an answer that arrived `now` expires; `None`: never.
///
/// `hash` is the key's: it alone decides the jitter, so that no randomness is needed and each key has a rhythm of its own.
pub(crate) fn expires(now: Instant, allowed: [Option<Duration>; 3], hash: u64) -> Option<Instant> {
    let ttl = allowed.into_iter().flatten().min()?;
    // A ttl beyond what the clock can count is no limit.
    now.checked_add(ttl - jitter(ttl, hash))
}

/// Between nothing and a tenth of `ttl`.
fn jitter(ttl: Duration, hash: u64) -> Duration {
    // Other bits than those that choose a stripe or a slot.
    let fraction = (hash >> 32) as u32;
    (ttl / JITTER_SHARE).mul_f64(f64::from(fraction) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_shortest_of_what_is_allowed_wins() {
        let now = Instant::now();
        assert_eq!(expires(now, [None, None, None], 0), None);
        assert_eq!(expires(now, [Some(MINUTE), None, None], 0), Some(now + MINUTE));
        let all = [Some(MINUTE), Some(MINUTE / 2), Some(MINUTE * 2)];
        assert_eq!(expires(now, all, 0), Some(now + MINUTE / 2));
    }

    #[test]
    fn jitter_takes_up_to_a_tenth_and_adds_nothing() {
        let now = Instant::now();
        let at = |hash: u64| expires(now, [Some(MINUTE), None, None], hash).unwrap() - now;
        assert_eq!(at(u64::MAX), MINUTE - MINUTE / 10);
        let spread: std::collections::BTreeSet<_> = (0..100u64).map(|n| at(n << 57)).collect();
        assert!(spread.len() > 50, "{} different times", spread.len());
        assert!(spread.iter().all(|ttl| (MINUTE * 9 / 10..=MINUTE).contains(ttl)));
    }

    #[test]
    fn a_ttl_beyond_the_clock_is_no_limit() {
        assert_eq!(expires(Instant::now(), [Some(Duration::MAX), None, None], 0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_answer_lives_for_nine_tenths_of_what_is_allowed_and_no_longer(
            allowed in prop::array::uniform3(prop::option::of(0..u64::MAX)), hash in any::<u64>()
        ) {
            let now = Instant::now();
            let allowed = allowed.map(|nanos| nanos.map(Duration::from_nanos));
            let shortest = allowed.iter().flatten().min();
            match (expires(now, allowed, hash), shortest) {
                (None, None) => {}
                (Some(at), Some(&ttl)) => {
                    let lives = at - now;
                    prop_assert!(lives <= ttl, "{lives:?} of {ttl:?}");
                    // Less than a nanosecond is lost in the division.
                    prop_assert!(lives >= ttl - ttl / 10 - Duration::from_nanos(1), "{lives:?} of {ttl:?}");
                }
                odd => prop_assert!(false, "{odd:?}"),
            }
        }
    }
}
