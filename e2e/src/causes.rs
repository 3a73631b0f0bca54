//! Why nodes called the loader while the ring changed, as far as they have counted it.

use crate::scenario::grouped;
use crate::tally::Tally;

/// What is counted, as metrics name it; all of one group.
const NAMES: [&str; 6] =
    ["taken_over", "peek_hits", "peeks", "passed_through", "second_owner_fetches", "fetch_failures"];

/// What all nodes together have counted.
#[derive(Clone, Debug)]
pub struct Causes([u64; NAMES.len()]);

impl Causes {
    /// So far, of the group `unicode`.
    #[must_use]
    pub fn of(tally: &Tally) -> Self {
        Self(NAMES.map(|name| tally.sum(&format!("groupcache_{name}_total"), &["group=\"unicode\""])))
    }

    /// Entries that nodes took over from others since then.
    #[must_use]
    pub fn taken_over_since(&self, before: &Self) -> u64 {
        self.0[0] - before.0[0]
    }

    /// Since then, in words: what a change of the ring did not cost, and what it did.
    #[must_use]
    pub fn since(&self, before: &Self) -> String {
        let counts: Vec<u64> = self.0.iter().zip(before.0).map(|(now, was)| now - was).collect();
        let [taken, hits, peeks, passed, second, failed] = counts[..] else { return String::new() };
        format!(
            "{} entries taken over and {} found at former owners; {} looked for there in vain, {} Gets without grants, \
             {} fetches at second owners, {} fetches unanswered",
            grouped(taken),
            grouped(hits),
            grouped(peeks - hits),
            grouped(passed),
            grouped(second),
            grouped(failed)
        )
    }
}
