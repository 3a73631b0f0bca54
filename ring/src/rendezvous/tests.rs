//! What a ring must hold: balance, least movement, and the same answer whatever the order.

use super::*;

const KEYS: usize = 1_000_000;

fn members(names: impl IntoIterator<Item = usize>) -> Vec<Member> {
    names.into_iter().map(|n| Member::active(format!("cache-{n}"), format!("10.0.0.{n}:8081"))).collect()
}

fn sequential(i: usize) -> Vec<u8> {
    format!("user:{i}").into_bytes()
}

fn scattered(i: usize) -> Vec<u8> {
    avalanche(i as u64 + 1).to_le_bytes().to_vec()
}

#[test]
fn keys_spread_evenly_over_three_to_fifty_members() {
    for key in [sequential, scattered] {
        for count in [3, 5, 10, 50] {
            let ring = Ring::new(&members(0..count));
            let mut held = vec![0usize; count];
            for i in 0..KEYS {
                held[ring.owner(&key(i)).unwrap()] += 1;
            }
            let most = *held.iter().max().unwrap() as f64;
            let ratio = most / (KEYS as f64 / count as f64);
            assert!(ratio <= 1.05, "{count} members: the fullest holds {ratio:.3} of the mean");
        }
    }
}

#[test]
fn a_member_that_comes_or_goes_moves_only_its_share() {
    for larger in [4, 10, 50] {
        let small = Ring::new(&members(0..larger - 1));
        let large = Ring::new(&members(0..larger));
        let moved = (0..KEYS).filter(|&i| small.owner(&sequential(i)) != large.owner(&sequential(i))).count();
        let share = moved as f64 * larger as f64 / KEYS as f64;
        assert!(share <= 1.05, "{larger} members: {share:.3} of one share moved");
        let strays = (0..KEYS / 10)
            .filter(|&i| {
                let now = large.owner(&sequential(i));
                now != small.owner(&sequential(i)) && now != Some(larger - 1)
            })
            .count();
        assert_eq!(strays, 0, "a key moved between members that stayed");
    }
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let forward = members(0..7);
    let mut backward = forward.clone();
    backward.reverse();
    let (a, b) = (Ring::new(&forward), Ring::new(&backward));
    assert_eq!(a.hash(), b.hash());
    for i in 0..1_000 {
        let names = |ring: &Ring, list: &[Member]| -> Vec<String> {
            ring.ranked(&sequential(i), 3).into_iter().map(|at| list[at].name.clone()).collect()
        };
        assert_eq!(names(&a, &forward), names(&b, &backward));
    }
}

#[test]
fn the_first_ranked_is_the_owner_and_the_second_takes_over() {
    let all = members(0..5);
    let ring = Ring::new(&all);
    for i in 0..1_000 {
        let key = sequential(i);
        let ranked = ring.ranked(&key, 5);
        assert_eq!(Some(ranked[0]), ring.owner(&key));
        let mut without = all.clone();
        without[ranked[0]].state = State::Draining;
        assert_eq!(Ring::new(&without).owner(&key), Some(ranked[1]));
    }
}

#[test]
fn only_active_members_own_keys() {
    let mut list = members(0..3);
    list[0].state = State::Joining;
    list[1].state = State::Draining;
    let ring = Ring::new(&list);
    assert_eq!(ring.len(), 1);
    assert_eq!(ring.owner(b"k"), Some(2));
    assert_eq!(Ring::new(&[]).owner(b"k"), None);
    assert_ne!(ring.hash(), Ring::new(&members(0..3)).hash());
}

/// Clients in other languages place keys by these; a change would move every key of every cluster.
#[test]
fn the_placement_is_fixed_for_ever() {
    let list = members(0..3);
    let ring = Ring::new(&list);
    let placed: Vec<_> = ["", "a", "foo", "user:1", "user:2", "user:3", "a b", "a/b", "U+1F980"]
        .iter()
        .map(|key| ring.ranked(key.as_bytes(), 3))
        .collect();
    assert_eq!(placed, VECTORS);
}

/// Computed apart from this code, with another implementation of XXH64.
const VECTORS: &[[usize; 3]] =
    &[[2, 0, 1], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 1, 0], [1, 2, 0], [0, 1, 2], [1, 2, 0], [1, 2, 0]];
