//! The version of a snapshot: which of two memberships is the newer one.

use std::fmt;

/// Orders snapshots of one cluster: by epoch, then by sequence. Valid only within one cluster uid.
///
/// The zero version is *provisional*: nothing has been published yet, and any real version beats it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Raised by every operator that takes over, above everything it knows of.
    pub epoch: u64,
    /// Raised by every change.
    pub sequence: u64,
}

impl Version {
    /// The version of a membership that nobody has published.
    pub const PROVISIONAL: Version = Version { epoch: 0, sequence: 0 };

    /// A version from its two parts.
    #[must_use]
    pub const fn new(epoch: u64, sequence: u64) -> Self {
        Version { epoch, sequence }
    }

    /// The version of the next change by the same writer.
    #[must_use]
    pub const fn next(self) -> Self {
        Version { epoch: self.epoch, sequence: self.sequence + 1 }
    }

    /// The first version of a writer that takes over and knows of `self`.
    #[must_use]
    pub const fn next_epoch(self) -> Self {
        Version { epoch: self.epoch + 1, sequence: 1 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_outranks_the_sequence() {
        assert!(Version::new(2, 1) > Version::new(1, 99));
        assert!(Version::new(2, 2) > Version::new(2, 1));
        assert!(Version::new(1, 1) > Version::PROVISIONAL);
    }

    #[test]
    fn a_writer_that_takes_over_is_above_all_it_knows() {
        let known = Version::new(3, 1_000);
        assert!(known.next_epoch() > known.next());
    }
}
