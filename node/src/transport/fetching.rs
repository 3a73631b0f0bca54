//! An answer to another node that is on its way: until it is there, signs of life.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Larger values go by a call of their own on another connection: at most this much lies between a small answer and its asker.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// When an owner that has no answer gives the first sign of life.
pub(crate) const FIRST_SIGN: Duration = Duration::from_millis(50);

/// Between signs of life after that.
pub(crate) const NEXT_SIGN: Duration = Duration::from_secs(1);

/// The answer to come, and when to give the next sign of life. Dropped when the asker goes.
pub(crate) struct Fetching<T> {
    answer: BoxFuture<'static, T>,
    next_sign: Instant,
}

/// What comes next.
pub(crate) enum Next<T> {
    /// The answer.
    Answer(T),
    /// A sign of life is due.
    Sign(Fetching<T>),
}

impl<T> Fetching<T> {
    /// It begins now.
    pub(crate) fn begin(answer: BoxFuture<'static, T>) -> Self {
        Fetching { answer, next_sign: Instant::now() + FIRST_SIGN }
    }

    pub(crate) async fn next(mut self) -> Next<T> {
        tokio::select! {
            biased;
            answer = &mut self.answer => Next::Answer(answer),
            // Nothing is lost here: the answer's future stays in self.
            () = sleep_until(self.next_sign) => {
                self.next_sign = Instant::now() + NEXT_SIGN;
                Next::Sign(self)
            }
        }
    }
}
