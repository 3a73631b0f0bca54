//! Which keys are asked for, and how often each: a Zipf distribution over a list, or one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::args::{KeysFrom, Load};

/// Names that follow from the code point by a rule: loaders of names leave them out.
const RULED_NAMES: [&str; 2] = ["CJK UNIFIED IDEOGRAPH-", "HANGUL SYLLABLE "];

/// The keys, the most popular first.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<Bytes>,
    /// The share of all draws that falls on a key or on those before it; the last is 1.
    shares: Vec<f64>,
    /// How many were taken in turn.
    taken: AtomicUsize,
}

/// An endless draw of keys.
pub(crate) struct Draws {
    keys: Arc<Keys>,
    /// `None`: they are taken in turn.
    random: Option<StdRng>,
}

impl Keys {
    pub(crate) fn new(load: &Load) -> anyhow::Result<Keys> {
        let limit = load.keys as usize;
        let keys = if let Some(key) = &load.cold_key {
            vec![Bytes::from(key.clone())]
        } else if let Some(file) = &load.keys_file {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            text.lines()
                .filter(|line| !line.is_empty())
                .take(limit)
                .map(|line| Bytes::from(line.to_owned()))
                .collect()
        } else if load.keys_from == Some(KeysFrom::Unicode) {
            unicode().take(limit).collect()
        } else {
            let pattern = load.key_pattern.as_deref().unwrap_or("key-{n}");
            (0..limit).map(|n| Bytes::from(pattern.replace("{n}", &n.to_string()))).collect()
        };
        ensure!(!keys.is_empty(), "there is no key to ask for");
        Ok(Keys { shares: shares(keys.len(), load.zipf), keys, taken: AtomicUsize::new(0) })
    }

    pub(crate) fn draws(self: &Arc<Self>, seed: u64) -> Draws {
        Draws { keys: self.clone(), random: Some(StdRng::seed_from_u64(seed)) }
    }

    /// One key after the other, shared with everyone else who takes them so.
    pub(crate) fn in_turn(self: &Arc<Self>) -> Draws {
        Draws { keys: self.clone(), random: None }
    }
}

impl Draws {
    pub(crate) fn next_key(&mut self) -> Bytes {
        let count = self.keys.keys.len();
        let at = match &mut self.random {
            Some(random) => {
                let draw: f64 = random.random();
                self.keys.shares.partition_point(|share| *share <= draw).min(count - 1)
            }
            None => self.keys.taken.fetch_add(1, Ordering::Relaxed) % count,
        };
        self.keys.keys[at].clone()
    }
}

/// The keys of the assigned characters that have a name of their own, in order.
fn unicode() -> impl Iterator<Item = Bytes> {
    ('\0'..=char::MAX).filter_map(|character| {
        let name = unicode_names2::name(character)?.to_string();
        let ruled = RULED_NAMES.iter().any(|ruled| name.starts_with(ruled));
        (!ruled).then(|| Bytes::from(format!("U+{:04X}", u32::from(character))))
    })
}

/// Cumulative shares of `count` keys, the n-th with the weight 1/n^exponent.
fn shares(count: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut shares: Vec<f64> = (1..=count)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect();
    for share in &mut shares {
        *share /= sum;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(keys: &[&'static str], exponent: f64) -> Arc<Keys> {
        let keys: Vec<Bytes> = keys.iter().copied().map(Bytes::from).collect();
        Arc::new(Keys { shares: shares(keys.len(), exponent), keys, taken: AtomicUsize::new(0) })
    }

    #[test]
    fn in_turn_no_key_comes_again_before_all_others_have_come() {
        let keys = of(&["a", "b", "c"], 1.0);
        let mut both = [keys.in_turn(), keys.in_turn()];
        let taken: Vec<_> = (0..6).map(|n| both[n % 2].next_key()).collect();
        assert_eq!(taken, ["a", "b", "c", "a", "b", "c"]);
    }

    #[test]
    fn popular_keys_are_drawn_as_often_as_zipf_says() {
        let keys = of(&["a", "b", "c"], 1.0);
        let mut draws = keys.draws(7);
        let drawn: Vec<_> = (0..11_000).map(|_| draws.next_key()).collect();
        // 1 : 1/2 : 1/3 is 6 : 3 : 2.
        for (key, expected) in [("a", 6_000_i64), ("b", 3_000), ("c", 2_000)] {
            let count = drawn.iter().filter(|drawn| *drawn == key).count() as i64;
            assert!((count - expected).abs() < 200, "{key}: {count}");
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_keys() {
        let keys = of(&["a", "b"], 0.0);
        let draw = |seed| (0..64).map(|_| keys.draws(seed).next_key()).collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
    }

    #[test]
    fn ten_thousand_characters_have_names_of_their_own() {
        let keys: Vec<_> = unicode().take(10_000).collect();
        assert_eq!(keys.len(), 10_000);
        assert_eq!(keys[0], "U+0020", "control characters have no name");
    }
}
