//! Whether a loader answers, from how its last loads ended.

use std::sync::Arc;

use groupcache_group::loader::LoadError;
use parking_lot::Mutex;

use crate::loader::breaker::{Circuit, Verdict};

/// So many failures, one after the other, are a loader that fails. Fewer may be a few bad keys.
const IN_A_ROW: u32 = 3;

/// Longest failure that is told, in characters.
const MAX_FAILURE: usize = 300;

/// How a loader does, for one group at this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It has not answered yet, and not failed often enough to say that it does.
    NotAsked,
    /// It answers.
    Answers,
    /// It fails, and this is how.
    Fails(Arc<str>),
}

/// How the last loads ended.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Held to note or read three words.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has_answered: bool,
    failures: u32,
    failure: Arc<str>,
}

impl Record {
    /// One more load has ended.
    pub(crate) fn ended(&self, verdict: Verdict, error: Option<&LoadError>) {
        let mut state = self.state.lock();
        match verdict {
            Verdict::Nothing => {}
            Verdict::Answered => {
                state.has_answered = true;
                state.failures = 0;
            }
            Verdict::Failed => {
                state.failures = state.failures.saturating_add(1);
                if let Some(LoadError::Failed { message, .. }) = error {
                    state.failure = message.chars().take(MAX_FAILURE).collect::<String>().into();
                }
            }
        }
    }

    /// How it does now, where its breaker lets this through.
    pub(crate) fn health(&self, circuit: Circuit) -> Health {
        let state = self.state.lock();
        if circuit != Circuit::Closed || state.failures >= IN_A_ROW {
            Health::Fails(Arc::clone(&state.failure))
        } else if state.has_answered {
            Health::Answers
        } else {
            Health::NotAsked
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loader::failure::{UNAVAILABLE, failed};

    fn after(verdicts: &[Verdict]) -> Health {
        let record = Record::default();
        let error = failed("people", UNAVAILABLE, "it is down");
        for verdict in verdicts {
            record.ended(*verdict, (*verdict == Verdict::Failed).then_some(&error));
        }
        record.health(Circuit::Closed)
    }

    #[test]
    fn it_fails_after_three_failures_in_a_row_and_no_longer_than_until_it_answers() {
        use Verdict::{Answered, Failed, Nothing};
        let fails = Health::Fails("loader people: it is down".into());
        assert_eq!(after(&[]), Health::NotAsked);
        assert_eq!(after(&[Nothing]), Health::NotAsked);
        assert_eq!(after(&[Failed, Failed]), Health::NotAsked);
        assert_eq!(after(&[Failed, Failed, Nothing, Failed]), fails);
        assert_eq!(after(&[Failed, Failed, Failed, Answered]), Health::Answers);
        assert_eq!(after(&[Answered, Failed, Failed]), Health::Answers);
    }

    #[test]
    fn a_breaker_that_is_not_closed_is_a_loader_that_fails() {
        let record = Record::default();
        record.ended(Verdict::Answered, None);
        assert_eq!(record.health(Circuit::HalfOpen), Health::Fails("".into()));
        assert_eq!(record.health(Circuit::Open), Health::Fails("".into()));
    }
}
