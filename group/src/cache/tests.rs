//! What the caches hold, to the byte.

use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::time::Instant;

use super::*;
use crate::value::Outcome;

const MIB: u64 = 1 << 20;

fn key(text: &str) -> Key {
    Key::new(text.to_owned(), 1024).unwrap()
}

fn entry(bytes: usize) -> Entry {
    let outcome = Outcome::Value(vec![7; bytes].into());
    Entry { outcome, loaded: Instant::now(), expires: None, source_version: None }
}

/// A half of each kind of store: both keep the same word.
fn both(capacity: u64) -> [Half; 2] {
    [StoreKind::Quick, StoreKind::Moka].map(|kind| Half::new(capacity, kind))
}

fn keep(half: &Half, key: &Key, entry: &Entry) -> bool {
    let Some((key, held)) = half.prepare(key, entry, Lease::default(), 0, Instant::now()) else {
        return false;
    };
    half.insert(key, held, Instant::now());
    half.settle();
    true
}

/// Has the store free what it may still hold, however often that takes.
fn freed(half: &Half, done: impl Fn() -> bool) {
    for _ in 0..10_000 {
        half.store.tidy();
        // Reading is what moves the store's own reclaiming on.
        let _ = half.get(b"nobody", 0, Instant::now());
        if done() {
            return;
        }
    }
    panic!("{} bytes and {} entries are still held", half.bytes(), half.entries());
}

#[test]
fn every_byte_that_comes_in_is_counted_and_counted_out() {
    for half in both(MIB) {
        assert!(keep(&half, &key("a"), &entry(100)));
        assert!(keep(&half, &key("bb"), &entry(200)));
        assert_eq!((half.bytes(), half.entries()), (303 + 2 * half.store.overhead(), 2));
        assert!(keep(&half, &key("a"), &entry(50)), "in place of the former one");
        assert_eq!(half.entries(), 2);
        freed(&half, || half.bytes() == 253 + 2 * half.store.overhead());
        half.remove(b"a");
        half.remove(b"bb");
        half.remove(b"cc");
        assert_eq!(half.entries(), 0);
        freed(&half, || half.bytes() == 0);
        assert_eq!(half.evictions(), 0);
    }
}

#[test]
fn what_is_prepared_and_not_inserted_costs_nothing_afterwards() {
    for half in both(MIB) {
        drop(half.prepare(&key("a"), &entry(100), Lease::default(), 0, Instant::now()));
        assert_eq!((half.bytes(), half.entries(), half.evictions()), (0, 0, 0));
    }
}

#[test]
fn an_entry_over_an_eighth_of_the_cache_is_refused() {
    for half in both(MIB) {
        assert!(!keep(&half, &key("a"), &entry(128 * 1024)));
        assert!(keep(&half, &key("a"), &entry(127 * 1024)));
    }
}

#[test]
fn a_kept_value_pins_no_larger_buffer() {
    for half in both(MIB) {
        let message = Bytes::from(vec![1; 100_000]);
        let value = message.slice(10..20);
        let entry = Entry { outcome: Outcome::Value(value.clone()), ..entry(0) };
        keep(&half, &key("a"), &entry);
        let Outcome::Value(kept) = half.get(b"a", 0, Instant::now()).unwrap().outcome else {
            panic!("a value")
        };
        assert_eq!(kept, value);
        assert_ne!(kept.as_ptr(), value.as_ptr());
    }
}

#[test]
fn what_leaves_to_make_room_is_an_eviction() {
    for half in both(MIB) {
        let kept = (0..10_000).filter(|n| keep(&half, &key(&format!("{n}")), &entry(1_000))).count() as u64;
        freed(&half, || half.bytes() <= MIB);
        assert_eq!(half.entries() + half.evictions(), kept);
        assert!(half.bytes() > MIB * 7 / 8, "and no more leave than must: {} bytes stay", half.bytes());
        assert!(keep(&half, &key("new"), &entry(1_000)));
        half.store.tidy();
        assert!(half.get(b"new", 0, Instant::now()).is_some(), "the newest is not refused");
    }
}

#[test]
fn big_values_from_many_writers_stay_within_their_bound() {
    for half in both(64 * MIB) {
        let (peak, kept) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (half, peak, kept) = (&half, &peak, &kept);
                scope.spawn(move || {
                    for n in 0..200 {
                        let new = keep(half, &key(&format!("{writer}-{n}")), &entry(MIB as usize));
                        kept.fetch_add(new.into(), Ordering::Relaxed);
                        peak.fetch_max(half.bytes(), Ordering::Relaxed);
                    }
                });
            }
        });
        let (peak, kept) = (peak.into_inner(), kept.into_inner());
        println!("peak {:.2} of the capacity, {kept} of 1600 kept", peak as f64 / (64 * MIB) as f64);
        // Eight writers may each have charged one value more before they found no room.
        assert!(peak <= 64 * MIB * 9 / 8 + OVERSHOOT_BYTES + 8 * (MIB + 1024), "{peak}");
        freed(&half, || half.bytes() <= 64 * MIB);
        assert!(half.entries() >= 40, "{} entries", half.entries());
    }
}

/// Inserts mixed with removals of reused keys once made a store stop evicting for good.
#[test]
fn keys_that_come_and_go_do_not_stall_eviction() {
    for half in both(4 * MIB) {
        for n in 0..60_000_u64 {
            let at = key(&format!("{}", n.wrapping_mul(0x9E37_79B1) % 12_000));
            keep(&half, &at, &entry(500));
            if n % 3 == 0 {
                half.remove(key(&format!("{}", n % 12_000)).as_bytes());
            }
        }
        freed(&half, || half.bytes() <= 4 * MIB);
        assert!(half.evictions() > 10_000, "{} evictions", half.evictions());
        assert!(keep(&half, &key("new"), &entry(500)) && half.get(b"new", 0, Instant::now()).is_some());
    }
}

#[test]
fn a_share_for_hot_copies_comes_out_of_the_whole() {
    let cache = Cache::new(100 * MIB, 10, StoreKind::Quick);
    assert_eq!(cache.main.capacity, 90 * MIB);
    assert_eq!(cache.hot.map(|hot| hot.capacity), Some(10 * MIB));
    assert!(Cache::new(MIB, 0, StoreKind::Quick).hot.is_none());
}

#[test]
fn what_the_source_calls_older_never_replaces_what_it_calls_newer_while_that_is_of_use() {
    let now = Instant::now();
    let minute = std::time::Duration::from_secs(60);
    let of = |version, expires| Entry { source_version: version, expires, ..entry(1) };
    let lease = Lease { stale: minute, early_percent: 0 };
    for half in both(MIB) {
        let put = |entry: &Entry, now| {
            let (key, held) = half.prepare(&key("a"), entry, lease, 0, now).unwrap();
            half.insert(key, held, now)
        };
        assert!(put(&of(Some(7), Some(now + minute)), now));
        assert!(!put(&of(Some(6), None), now) && !put(&of(Some(6), None), now + minute), "stale is of use");
        assert_eq!((half.get(b"a", 0, now).unwrap().source_version, half.entries()), (Some(7), 1));
        assert!(put(&of(Some(7), Some(now + minute)), now), "the same again");
        assert!(
            put(&of(Some(6), None), now + minute * 2),
            "the source went back, and nothing else is of use"
        );
        assert!(put(&of(None, None), now), "without a version nothing is known");
        assert!(put(&of(Some(1), None), now));
    }
}

#[test]
fn every_entry_is_shown_with_the_second_of_its_last_use() {
    for half in both(MIB) {
        for name in ["a", "b", "c"] {
            let now = Instant::now();
            let (key, held) = half.prepare(&key(name), &entry(10), Lease::default(), 3, now).unwrap();
            half.insert(key, held, now);
        }
        half.get(b"b", 7, Instant::now()).unwrap();
        half.peek(b"c", Instant::now()).unwrap();
        half.store.tidy();
        let mut seen = Vec::new();
        half.each(&mut |key, held| seen.push((key.clone(), held.used())));
        seen.sort();
        assert_eq!(seen, [(key("a"), 3), (key("b"), 7), (key("c"), 3)]);
    }
}
