//! Waits for a state by looking again and again; on failure tells what was seen last.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks. A look costs a process (kubectl) or a request, and a state is rarely reached faster.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What one look saw.
#[derive(Debug)]
pub enum Seen<T> {
    /// The state is there.
    Reached(T),
    /// Not yet; with what was there instead.
    NotYet(String),
}

/// Looks until the state is there. A look that fails counts as "not yet": a server may be starting.
///
/// # Errors
/// After `limit`, with what was seen last.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Result<Seen<T>>) -> Result<T> {
    let began = Instant::now();
    loop {
        let last = match look() {
            Ok(Seen::Reached(value)) => return Ok(value),
            Ok(Seen::NotYet(last)) => last,
            Err(error) => format!("{error:#}"),
        };
        if began.elapsed() >= limit {
            bail!("waited {} s for {what}; the last that was seen: {last}", limit.as_secs());
        }
        // Not in place of a condition: the pause between two looks at it.
        thread::sleep(BETWEEN_LOOKS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_comes_is_handed_back() {
        let mut looks = 0;
        let look = || {
            looks += 1;
            Ok(if looks == 3 { Seen::Reached(looks) } else { Seen::NotYet(String::new()) })
        };
        assert_eq!(until("three", Duration::from_secs(5), look).unwrap(), 3);
    }

    #[test]
    fn a_state_that_does_not_come_is_an_error_with_what_was_seen_last() {
        let error =
            until::<()>("godot", Duration::ZERO, || Ok(Seen::NotYet("a tree".to_owned()))).unwrap_err();
        assert!(error.to_string().contains("godot; the last that was seen: a tree"), "{error}");
    }
}
