//! What this node shows others of its main cache: entries, and the keys that another node has come to own.
//!
//! Looking is no use of an entry: it is neither counted nor does it keep the entry from eviction.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::cache::{Half, Held};
use crate::group::Group;
use crate::simulation::WORKS_ASIDE;
use crate::value::{Entry, Key};
use crate::view::{Place, View};

/// Bytes of values in one answer to a look for many keys; one value alone may be larger.
const MOST_SHOWN_BYTES: usize = 256 << 10;

/// Bytes of keys in one list.
const MOST_LISTED_BYTES: usize = 4 << 20;

/// Lists made at a time: each looks at everything there is, and when a node leaves all others ask at once.
pub(super) const LISTS_AT_ONCE: usize = 1;

impl Group {
    /// The key's entry in main, if this node may serve it (K6).
    #[must_use]
    pub fn held(&self, key: &[u8]) -> Option<Entry> {
        let now = self.grants.clock().now();
        let state = self.state.load();
        if !state.serves(now) {
            return None;
        }
        state.cache.main.peek(key, now)
    }

    /// The entries of as many of these keys, from the first on, as one answer may carry; `None` if this node may serve no copies now.
    #[must_use]
    pub fn held_of(&self, keys: &[Key]) -> Option<Vec<Option<Entry>>> {
        if !self.state.load().serves(self.grants.clock().now()) {
            return None;
        }
        let (mut entries, mut bytes) = (Vec::with_capacity(keys.len()), 0);
        for key in keys {
            let entry = self.held(key.as_bytes());
            bytes += entry.as_ref().map_or(0, Entry::value_bytes);
            if bytes > MOST_SHOWN_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(entry);
        }
        Some(entries)
    }

    /// At most `limit` keys of main that `owner` owns, the last used ones first; `None` if this node may serve no copies now.
    ///
    /// Everything held is looked at, on a thread that may block; Gets go on meanwhile.
    pub async fn keys_for(self: &Arc<Self>, owner: &str, limit: usize) -> Option<Vec<Key>> {
        let turn = self.lists.clone().acquire_owned().await.ok()?;
        let state = self.state.load_full();
        let view = state.view.clone().filter(|_| state.serves(self.grants.clock().now()))?;
        let owner = owner.to_owned();
        let list = move || {
            let _turn = turn;
            last_used(&state.cache.main, &view, &owner, limit)
        };
        if WORKS_ASIDE { tokio::task::spawn_blocking(list).await.ok() } else { Some(list()) }
    }
}

fn last_used(main: &Half, view: &View, owner: &str, limit: usize) -> Vec<Key> {
    // The one used longest ago on top, to be the first to go.
    let mut found: BinaryHeap<Reverse<(u32, Key)>> = BinaryHeap::new();
    main.each(&mut |key: &Key, held: &Held| {
        let full = found.len() >= limit;
        let late = full && found.peek().is_none_or(|Reverse((used, _))| held.used() <= *used);
        if late || !owns(view, owner, key) {
            return;
        }
        if full {
            found.pop();
        }
        found.push(Reverse((held.used(), key.clone())));
    });
    let mut bytes = 0;
    let listed = found.into_sorted_vec().into_iter().map(|Reverse((_, key))| key);
    listed
        .take_while(|key| {
            bytes += key.as_bytes().len();
            bytes <= MOST_LISTED_BYTES
        })
        .collect()
}

fn owns(view: &View, owner: &str, key: &Key) -> bool {
    matches!(view.owner(key.as_bytes()), Some(Place::Peer(member)) if member.name == owner)
}
