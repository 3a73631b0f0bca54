//! Errors that wait: who joins a ring and who leaves it is not held up by a webhook that refuses a Service.

use crate::context::Error;

/// The first error of what is put off until the ring has had its turn.
#[derive(Debug, Default)]
pub struct Failed(Option<Error>);

impl Failed {
    /// What was done; nothing if it failed, which is noted.
    pub fn unless<T, E: Into<Error>>(&mut self, done: Result<T, E>) -> Option<T> {
        done.map_err(|error| self.0 = self.0.take().or(Some(error.into()))).ok()
    }

    /// What it is.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.0.as_ref()
    }

    /// Ends with it, as one that the status tells.
    ///
    /// # Errors
    /// If anything failed.
    pub fn end(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), |error| Err(Error::Told(Box::new(error))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_first_is_told_at_the_end() {
        let mut failed = Failed::default();
        assert_eq!(failed.unless(Ok::<_, Error>(7)), Some(7));
        assert!(failed.error().is_none());
        assert_eq!(failed.unless(Err::<u8, _>(Error::Deposed)), None);
        assert_eq!(failed.unless(Err::<u8, _>(Error::Overwritten)), None);
        assert!(failed.end().is_err_and(|error| matches!(error.cause(), Error::Deposed)));
        assert!(Failed::default().end().is_ok());
    }
}
