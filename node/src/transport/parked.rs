//! Large answers that no cache holds, kept until their asker comes for them: else they would be loaded twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use groupcache_group::group::Answer;
use parking_lot::Mutex;
use tokio::time::sleep;

/// Most bytes that are kept at a time: one of the largest values. What finds no room is loaded once more.
const MOST_BYTES: usize = 8 << 20;

/// How long an asker may take to come: it is told where it waits, and dials at once.
const KEPT: Duration = Duration::from_secs(1);

/// The answers kept. Cheap to clone; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parked {
    table: Arc<Mutex<Table>>,
}

#[derive(Debug, Default)]
struct Table {
    answers: HashMap<u64, Answer>,
    bytes: usize,
}

/// One kept answer; gone with this.
#[derive(Debug)]
pub(crate) struct Ticket {
    parked: Parked,
    number: u64,
}

impl Parked {
    /// Keeps an answer, if there is room.
    pub(crate) fn park(&self, answer: Answer) -> Option<Ticket> {
        let bytes = answer.entry.value_bytes();
        let mut table = self.table.lock();
        if table.bytes + bytes > MOST_BYTES {
            return None;
        }
        table.bytes += bytes;
        let number = rand::random_range(1..=u64::MAX);
        table.answers.insert(number, answer);
        drop(table);
        Some(Ticket { parked: self.clone(), number })
    }

    /// Hands out what a ticket stands for, once.
    pub(crate) fn collect(&self, number: u64) -> Option<Answer> {
        let mut table = self.table.lock();
        let answer = table.answers.remove(&number)?;
        table.bytes -= answer.entry.value_bytes();
        Some(answer)
    }
}

impl Ticket {
    /// What its asker is told.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Gives the asker its time.
    pub(crate) async fn lapse(self) {
        sleep(KEPT).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.parked.collect(self.number);
    }
}
