//! The clock by which copies may be served: it has to go on while the machine is asleep.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

/// What time it is, for expiry, windows and grants.
///
/// A process that was suspended with its machine must find its grants run out when it goes on, so a node gives a clock that counts that time too;
/// the runtime's own does not, and is what an application that is its own whole cluster needs.
#[derive(Clone, Default)]
pub struct Clock(Option<Arc<dyn Fn() -> Instant + Send + Sync>>);

impl Clock {
    /// The runtime's clock: virtual where a test has paused it.
    #[must_use]
    pub fn of_the_runtime() -> Self {
        Clock(None)
    }

    /// A clock of one's own. It must never go back.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        Clock(Some(Arc::new(now)))
    }

    /// The present moment.
    #[must_use]
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(now) => now(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Clock(own)" } else { "Clock(runtime)" })
    }
}
