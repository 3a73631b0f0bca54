//! What the conditions say while the operator leaves a cluster alone.

use super::Facts;
use crate::conditions::{CONFIGURATION_APPLIED, Finding, PAUSED, PROGRESSING, reason};

/// What of the spec does not happen meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pause {
    /// Groups, loaders or bounds of the spec are others than those in force.
    pub withholds: bool,
}

impl Facts<'_> {
    pub(super) fn paused(&self) -> Finding {
        let (status, reason, message) = match self.pause {
            Some(_) => (
                "True",
                reason::PAUSED,
                "spec.managementState is Paused: nothing is made, repaired or replaced",
            ),
            None => ("False", reason::MANAGED, ""),
        };
        Finding::new(PAUSED, status, reason, message)
    }

    /// Nothing goes on that anybody should wait for.
    pub(super) fn pause_of_progress(&self) -> Option<Finding> {
        let message = "nothing changes while spec.managementState is Paused";
        self.pause.map(|_| Finding::new(PROGRESSING, "False", reason::PAUSED, message))
    }

    pub(super) fn withheld_configuration(&self) -> Option<Finding> {
        let message =
            "the spec has changed; what was in force stays in force while spec.managementState is Paused";
        let withheld = self.pause.filter(|pause| pause.withholds);
        withheld.map(|_| Finding::new(CONFIGURATION_APPLIED, "False", reason::PAUSED, message))
    }
}
