//! Keeps an entry, inside the fence: what every load, fetch, peek and take-over ends with.

use std::sync::Arc;

use crate::cache::{Cache, Half};
use crate::generation::Generation;
use crate::group::{Group, Part};
use crate::stats::Count;
use crate::value::{Entry, Key};

impl Group {
    /// Keeps an entry if the key was not purged since `generation`, if nothing newer is known of, and if this node still may (K1, K3).
    pub(super) fn keep(
        &self,
        part: Part,
        key: &Key,
        hash: u64,
        entry: &Entry,
        generation: Generation,
    ) -> bool {
        self.keep_if(part, key, hash, entry, generation, |_| true)
    }

    /// The same, if it is `wanted` in place of what is there.
    pub(super) fn keep_if(
        &self,
        part: Part,
        key: &Key,
        hash: u64,
        entry: &Entry,
        generation: Generation,
        wanted: impl FnOnce(Option<Entry>) -> bool,
    ) -> bool {
        let state = self.state.load_full();
        let Some(half) = half(&state.cache, part) else { return false };
        let (lease, now) = (state.lease(part, key), self.grants.clock().now());
        let second = self.grants.second(entry.loaded);
        let Some((key, held)) = half.prepare(key, entry, lease, second, now) else {
            self.counters.add(Count::NoRoom);
            return false;
        };
        let insert = || {
            // Inside the fence, so that a view or a budget that comes into force now is seen, or sees the entry.
            let (present, now) = (self.state.load(), self.grants.clock().now());
            let stands = present.serves(now) && Arc::ptr_eq(&present.cache, &state.cache);
            let wanted = stands && wanted(half.peek(key.as_bytes(), now));
            let kept = wanted && half.insert(key, held, now);
            // What the source calls older than what is here is fenced, too.
            (stands && (kept || !wanted), kept)
        };
        let (stands, kept) =
            self.generations.if_stands(hash, generation, entry.source_version, insert).unwrap_or_default();
        if kept {
            half.settle();
        } else if !stands {
            self.counters.add(Count::Fenced);
        }
        kept
    }
}

fn half(cache: &Cache, part: Part) -> Option<&Half> {
    match part {
        Part::Main => Some(&cache.main),
        Part::Hot => cache.hot.as_ref(),
    }
}
