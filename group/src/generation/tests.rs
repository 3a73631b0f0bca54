//! Generations, windows, lags and versions, one rule a test.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const W: Bounds = Bounds { window: SECOND, lag: Duration::ZERO, floor: None };

fn after_the_first_window() -> (Generations, Instant) {
    let born = Instant::now();
    (Generations::new(born, W), born + SECOND)
}

fn stands(generations: &Generations, hash: u64, start: Start) -> bool {
    generations.if_stands(hash, start.generation, None, || ()).is_some()
}

fn takes(generations: &Generations, hash: u64, version: Option<u64>, now: Instant) -> bool {
    let start = generations.start(hash, now);
    generations.if_stands(hash, start.generation, version, || ()).is_some()
}

#[test]
fn a_process_begins_with_an_open_window() {
    let born = Instant::now();
    let generations = Generations::new(born, W);
    assert!(generations.start(7, born).in_window);
    assert!(!generations.start(7, born + SECOND).in_window);
}

#[test]
fn what_started_before_a_purge_is_not_kept_and_what_started_after_is() {
    let (generations, now) = after_the_first_window();
    let before = generations.start(7, now);
    generations.purge(7, now, W, || ());
    let after = generations.start(7, now);
    assert!(!stands(&generations, 7, before));
    assert!(before.generation < after.purged, "and it is not to be joined");
    assert!(stands(&generations, 7, after));
    assert!(after.generation >= after.purged);
    assert!(after.in_window);
    assert!(!generations.start(7, now + SECOND).in_window);
}

/// A check or a raise that lets go of the lock before it acts would leave a gap for the other.
#[test]
fn keeping_and_dropping_happen_inside_the_lock() {
    let (generations, now) = after_the_first_window();
    let start = generations.start(7, now);
    let locked = || generations.stripe(7).is_locked();
    assert_eq!(generations.if_stands(7, start.generation, None, locked), Some(true));
    generations.purge(7, now, W, || assert!(locked()));
    assert!(!locked());
}

#[test]
fn a_purge_leaves_its_neighbours_in_the_stripe_alone() {
    let (generations, now) = after_the_first_window();
    let neighbour = 7 + STRIPES as u64;
    let before = generations.start(neighbour, now);
    generations.purge(7, now, W, || ());
    assert!(stands(&generations, neighbour, before));
    assert!(!generations.start(neighbour, now).in_window);
}

#[test]
fn a_forgotten_record_still_fences_what_is_older() {
    let (generations, now) = after_the_first_window();
    let before = generations.start(0, now);
    generations.purge(0, now, W, || ());
    let later = now + SECOND;
    let after = generations.start(0, later);
    for other in 1..=RECORDS as u64 {
        generations.purge(other * STRIPES as u64, later, W, || ());
    }
    assert_eq!(generations.overflows(), 0, "closed windows make room");
    assert!(!stands(&generations, 0, before));
    assert!(stands(&generations, 0, after));
}

#[test]
fn a_full_stripe_opens_one_window_for_all_and_counts_it() {
    let (generations, now) = after_the_first_window();
    let bystander = 5_000 * STRIPES as u64;
    let before = generations.start(bystander, now);
    for key in 0..=RECORDS as u64 {
        generations.purge(key * STRIPES as u64, now, W, || ());
    }
    assert_eq!(generations.overflows(), 1);
    assert!(generations.start(bystander, now).in_window);
    assert!(!stands(&generations, bystander, before));
    assert!(!generations.start(1, now).in_window, "other stripes are untouched");
}

#[test]
fn raising_all_fences_everything_on_its_way() {
    let (generations, now) = after_the_first_window();
    let starts: Vec<_> = (0..100).map(|key| generations.start(key, now)).collect();
    generations.raise_all();
    assert!((0..100).zip(starts).all(|(key, start)| !stands(&generations, key, start)));
    assert!(stands(&generations, 3, generations.start(3, now)));
}

#[test]
fn a_source_lags_after_a_purge_for_its_own_time_and_before_anything_is_known() {
    let lag = Bounds { lag: SECOND * 5, ..W };
    let born = Instant::now();
    let generations = Generations::new(born, lag);
    assert!(generations.start(7, born + SECOND * 4).in_lag, "a process begins as if all had been purged");
    let now = born + SECOND * 5;
    assert!(!generations.start(7, now).in_lag);
    generations.purge(7, now, lag, || ());
    let start = generations.start(7, now + SECOND * 4);
    assert!(start.in_lag && !start.in_window && stands(&generations, 7, start));
    assert!(!generations.start(7 + STRIPES as u64, now).in_lag, "its neighbours do not");
    // A record lives until both are over.
    for other in 1..=RECORDS as u64 {
        generations.purge(7 + other * STRIPES as u64, now + SECOND * 4, W, || ());
    }
    assert!(generations.start(7, now + SECOND * 4).in_lag);
    assert!(!generations.start(7, now + SECOND * 5).in_lag);
}

#[test]
fn a_full_stripe_lags_as_a_whole() {
    let (generations, now) = after_the_first_window();
    for key in 0..=RECORDS as u64 {
        generations.purge(key * STRIPES as u64, now, Bounds { lag: SECOND * 5, ..W }, || ());
    }
    assert!(generations.start(RECORDS as u64 * STRIPES as u64, now + SECOND * 4).in_lag);
}

#[test]
fn what_the_source_calls_older_than_a_purge_is_not_kept() {
    let (generations, now) = after_the_first_window();
    let from = |version| Bounds { floor: Some(version), ..W };
    generations.purge(7, now, from(5), || ());
    generations.purge(7, now, from(3), || ());
    generations.purge(7, now, W, || ());
    assert!(!takes(&generations, 7, Some(4), now));
    assert!(takes(&generations, 7, Some(5), now) && takes(&generations, 7, None, now));
    assert!(takes(&generations, 7 + STRIPES as u64, Some(1), now), "other keys have versions of their own");
    // Later, and with other purges that need room, it still holds: those without a version make it.
    for round in 1..=4u32 {
        for other in 1..=RECORDS as u64 - 1 {
            generations.purge(7 + other * STRIPES as u64, now + SECOND * (round * 2), W, || ());
        }
        let last = 7 + (90 + u64::from(round)) * STRIPES as u64;
        generations.purge(last, now + SECOND * (round * 2 + 1), W, || ());
    }
    assert!(!takes(&generations, 7, Some(4), now + SECOND * 60));
}

#[test]
fn a_version_finds_a_place_even_in_a_full_stripe() {
    let (generations, now) = after_the_first_window();
    for key in 0..RECORDS as u64 {
        generations.purge(key * STRIPES as u64, now, W, || ());
    }
    let before = generations.start(0, now);
    let late = 99 * STRIPES as u64;
    generations.purge(late, now, Bounds { floor: Some(5), ..W }, || ());
    assert_eq!(generations.overflows(), 1);
    assert!(!takes(&generations, late, Some(4), now) && takes(&generations, late, Some(5), now));
    assert!(generations.start(0, now).in_window, "whose place it took stays in the window");
    assert!(!stands(&generations, 0, before), "and fenced");
}
