//! Entries from node to node: whatever way they take, they live no longer than where they came from said.

use proptest::prelude::*;

use super::*;

/// What whole milliseconds on the wire may take off an age at each hop.
const ROUNDING: Duration = Duration::from_millis(1);

fn entry(now: Instant, ttl: Option<Duration>) -> Entry {
    let expires = ttl.map(|ttl| now + ttl);
    Entry { outcome: Outcome::Value("v".into()), loaded: now, expires, source_version: Some(7) }
}

/// The entry as the next node has it, after the message took that long.
async fn passed_on(entry: &Entry, took: Duration) -> Entry {
    let wire = entry_to_wire(entry, Instant::now());
    tokio::time::advance(took).await;
    entry_from_wire(wire)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_hop_adds_to_the_time_that_is_left(
        ttl in 0..100_000_000u64, hops in prop::collection::vec((0..20_000_000u64, 0..3_000_000u64), 0..6)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (born, ttl) = (Instant::now(), Duration::from_nanos(ttl));
            let mut here = entry(born, Some(ttl));
            let mut on_the_way = Duration::ZERO;
            for (count, (waits, took)) in hops.iter().enumerate() {
                tokio::time::advance(Duration::from_nanos(*waits)).await;
                let (left, took) = (here.remaining(Instant::now()).unwrap(), Duration::from_nanos(*took));
                here = passed_on(&here, took).await;
                on_the_way += took;
                let now = Instant::now();
                // The time on the way is not known to anybody: it is all that a hop may hide.
                assert!(here.remaining(now).unwrap() <= left, "a hop has added to {left:?}");
                assert!(here.is_expired(now) || here.expires.unwrap() <= born + ttl + on_the_way);
                let age = now.saturating_duration_since(here.loaded);
                let hidden = on_the_way + ROUNDING * (count as u32 + 1);
                assert!(age + hidden >= now - born, "{age:?} old after {:?}", now - born);
                assert_eq!(here.source_version, Some(7));
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn what_never_expires_does_not_on_the_next_node_either() {
    let here = passed_on(&entry(Instant::now(), None), ROUNDING).await;
    assert_eq!(here.expires, None);
}

/// Numbers that no honest node sends must not bring the receiver's clock to its end.
#[tokio::test(start_paused = true)]
async fn times_beyond_the_clock_are_taken() {
    let wire = cluster::Entry { ttl_remaining_ms: Some(u64::MAX), age_ms: u64::MAX, ..Default::default() };
    let entry = entry_from_wire(wire);
    assert!(!entry.is_expired(Instant::now()) && entry.loaded <= Instant::now());
}
