//! The switch that makes the loader slow or failing, so that a cache's behaviour can be tried on purpose.

use std::time::Duration;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// Longest delay in milliseconds that can be asked for: ten minutes, beyond any loader's timeout.
pub const MAX_DELAY_MS: u64 = 600_000;

/// What is wrong with the loader at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// How long every Load and LoadMany waits before it asks the table, in milliseconds.
    pub delay_ms: u64,
    /// True: every Load and LoadMany fails with UNAVAILABLE, after the delay.
    pub fail: bool,
}

/// The faults in force, read by the service and written by the admin port.
#[derive(Debug, Default)]
pub struct FaultSwitch(RwLock<Faults>);

impl FaultSwitch {
    /// The faults in force.
    #[must_use]
    pub fn get(&self) -> Faults {
        *self.0.read()
    }

    /// Puts other faults in force, for the loads that start from now on.
    ///
    /// # Errors
    /// If the delay is longer than [`MAX_DELAY_MS`]; nothing is changed then.
    pub fn set(&self, faults: Faults) -> Result<(), String> {
        if faults.delay_ms > MAX_DELAY_MS {
            return Err(format!("delay_ms is {}; it is at most {MAX_DELAY_MS}", faults.delay_ms));
        }
        *self.0.write() = faults;
        Ok(())
    }

    /// Waits and fails as the faults say.
    ///
    /// # Errors
    /// UNAVAILABLE while `fail` is on.
    pub async fn suffer(&self) -> Result<(), tonic::Status> {
        let Faults { delay_ms, fail } = self.get();
        if delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
        }
        if fail {
            return Err(tonic::Status::unavailable("told to fail; PUT /faults {} on the admin port ends it"));
        }
        Ok(())
    }
}
