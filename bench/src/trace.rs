//! Hit ratios of the stores on a recorded trace, beside an exact LRU: a policy must never be worse than that.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use ahash::RandomState;
use anyhow::{Context, ensure};
use moka::policy::EvictionPolicy;
use quick_cache::sync::DefaultLifecycle;
use quick_cache::{OptionsBuilder, UnitWeighter};
use serde::Serialize;

/// Sizes of the cache, in percent of the trace's different keys.
pub const PERCENT: [usize; 4] = [1, 5, 10, 25];

/// The share of quick_cache that what was asked for again may take, as the group's store sets it.
const HOT: f64 = 0.9;

/// A key of a trace: a big-endian word.
const WORD: usize = 4;

/// How one policy did on the whole trace, at each of [`PERCENT`].
#[derive(Clone, Debug, Serialize)]
pub struct HitRatios {
    /// The policy.
    pub name: String,
    /// Percent of the accesses that were hits, cold start included.
    pub percent: Vec<f64>,
}

/// A cache of a number of keys: says whether the key was in it, and puts it in.
type Access = Box<dyn FnMut(u32) -> bool>;

/// Plays the trace in `file` to each policy at each size.
///
/// # Errors
/// If the file cannot be read or is no trace.
pub fn run(file: &Path) -> anyhow::Result<Vec<HitRatios>> {
    let bytes = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let (words, rest) = bytes.as_chunks::<WORD>();
    ensure!(rest.is_empty() && !words.is_empty(), "{} is no sequence of 4-byte keys", file.display());
    let trace: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
    let keys = trace.iter().collect::<HashSet<_>>().len();
    eprintln!("{} accesses of {keys} keys", trace.len());

    let ratios = |name: &str, cache: &dyn Fn(usize) -> anyhow::Result<Access>| {
        let percent = PERCENT.iter().map(|percent| {
            let mut access = cache((keys * percent / 100).max(1))?;
            let hits = trace.iter().filter(|key| access(**key)).count();
            Ok(hits as f64 * 100.0 / trace.len() as f64)
        });
        Ok(HitRatios { name: name.to_owned(), percent: percent.collect::<anyhow::Result<_>>()? })
    };
    [
        ratios("LRU, exact", &|size| Ok(lru(size))),
        ratios("moka, LRU", &|size| Ok(moka(size, EvictionPolicy::lru()))),
        ratios("moka, TinyLFU", &|size| Ok(moka(size, EvictionPolicy::tiny_lfu()))),
        ratios("quick_cache, as it comes", &|size| quick(size, None, 1)),
        ratios("quick_cache, as ours", &|size| quick(size, Some(HOT), 1)),
        ratios("quick_cache, as ours, 4 shards", &|size| quick(size, Some(HOT), 4)),
    ]
    .into_iter()
    .collect()
}

fn lru(size: usize) -> Access {
    let mut used = HashMap::new();
    let mut order = BTreeMap::new();
    let mut now = 0_u64;
    Box::new(move |key| {
        now += 1;
        let before = used.insert(key, now);
        if let Some(before) = before {
            order.remove(&before);
        } else if used.len() > size
            && let Some((_, oldest)) = order.pop_first()
        {
            used.remove(&oldest);
        }
        order.insert(now, key);
        before.is_some()
    })
}

fn moka(size: usize, policy: EvictionPolicy) -> Access {
    let cache = moka::sync::Cache::builder()
        .max_capacity(size as u64)
        .eviction_policy(policy)
        .build_with_hasher(RandomState::new());
    Box::new(move |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
            cache.run_pending_tasks();
        }
        hit
    })
}

fn quick(size: usize, hot: Option<f64>, shards: usize) -> anyhow::Result<Access> {
    let mut options = OptionsBuilder::new();
    options.estimated_items_capacity(size).weight_capacity(size as u64).shards(shards);
    if let Some(hot) = hot {
        options.hot_allocation(hot);
    }
    let options = options.build().context("quick_cache takes no such size")?;
    let (hasher, lifecycle) = (RandomState::new(), DefaultLifecycle::default());
    let cache = quick_cache::sync::Cache::with_options(options, UnitWeighter, hasher, lifecycle);
    Ok(Box::new(move |key| {
        let hit = cache.get(&key).is_some();
        if !hit {
            cache.insert(key, ());
        }
        hit
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_lru_evicts_what_was_used_longest_ago() {
        let mut access = lru(2);
        let hits: Vec<bool> = [1, 2, 1, 3, 1, 2].map(&mut access).to_vec();
        assert_eq!(hits, [false, false, true, false, true, false]);
    }
}
