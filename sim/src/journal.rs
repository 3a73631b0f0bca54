//! What happened, in order: a digest of all of it, and the last of it in words.

use std::collections::VecDeque;
use std::fmt::Write;

/// Events that are kept to be shown.
const KEPT: usize = 200_000;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
struct Event {
    at: u64,
    what: &'static str,
    node: usize,
    /// Which key, peer or call.
    one: u64,
    /// A value, version or outcome.
    other: u64,
}

/// The events of a run.
#[derive(Debug)]
pub struct Journal {
    digest: u64,
    count: u64,
    kept: Option<VecDeque<Event>>,
}

impl Journal {
    /// No event yet; `keep` them for [`Journal::tail`].
    #[must_use]
    pub fn new(keep: bool) -> Self {
        Journal { digest: 0xCBF2_9CE4_8422_2325, count: 0, kept: keep.then(VecDeque::new) }
    }

    /// Something happened.
    pub fn note(&mut self, at: u64, what: &'static str, node: usize, one: u64, other: u64) {
        self.count += 1;
        for byte in what.bytes() {
            self.mix(u64::from(byte));
        }
        for word in [at, node as u64, one, other] {
            self.mix(word);
        }
        if let Some(kept) = &mut self.kept {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(Event { at, what, node, one, other });
        }
    }

    /// Tells this run from any other.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// How many events there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The events from `since` on, a line each.
    #[must_use]
    pub fn tail(&self, since: u64) -> String {
        let mut text = String::new();
        for event in self.kept.iter().flatten().filter(|event| event.at >= since) {
            let Event { at, what, node, one, other } = event;
            let _ = writeln!(text, "{:>7}.{:03} n{node} {what} {one} {other}", at / 1000, at % 1000);
        }
        text
    }

    fn mix(&mut self, word: u64) {
        self.digest = (self.digest ^ word).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
    }
}
