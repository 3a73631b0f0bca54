//! Readiness: named conditions, each tended by whoever knows it, and what is missing while one does not hold.

use std::collections::BTreeMap;

use tokio::sync::watch;

type Conditions = BTreeMap<&'static str, Option<String>>;

/// Whether the process is ready, and if not, why. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: watch::Sender<Conditions>,
}

/// One thing that must hold. Whoever drops it no longer tends it, and an untended condition does not hold.
#[derive(Debug)]
pub struct Condition {
    name: &'static str,
    conditions: watch::Sender<Conditions>,
}

/// What is missing, change by change. A slow reader skips to the newest.
#[derive(Debug)]
pub struct Changes {
    changes: watch::Receiver<Conditions>,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The condition.
    pub name: &'static str,
    /// What it waits for.
    pub reason: String,
}

impl Readiness {
    /// Ready until a condition is added that does not hold.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a condition, which does not hold yet because of `reason`. A name stands once: the newest counts.
    #[must_use]
    pub fn condition(&self, name: &'static str, reason: impl Into<String>) -> Condition {
        let condition = Condition { name, conditions: self.conditions.clone() };
        condition.unmet(reason);
        condition
    }

    /// What is missing; nothing: ready.
    #[must_use]
    pub fn missing(&self) -> Vec<Missing> {
        missing(&self.conditions.borrow())
    }

    /// True if nothing is missing.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.borrow().values().all(Option::is_none)
    }

    /// Follows what is missing, beginning with what is missing now.
    #[must_use]
    pub fn follow(&self) -> Changes {
        let mut changes = self.conditions.subscribe();
        changes.mark_changed();
        Changes { changes }
    }

    /// Waits until nothing is missing.
    pub async fn ready(&self) {
        // The sender lives in self, so the wait cannot end in its loss.
        let _ = self.conditions.subscribe().wait_for(|c| c.values().all(Option::is_none)).await;
    }
}

impl Changes {
    /// What is missing after the next change; `None` once nobody can change it any more.
    pub async fn next(&mut self) -> Option<Vec<Missing>> {
        self.changes.changed().await.ok()?;
        Some(missing(&self.changes.borrow_and_update()))
    }
}

impl Condition {
    /// It holds now.
    pub fn met(&self) {
        self.put(&None);
    }

    /// It does not hold, because of `reason`.
    pub fn unmet(&self, reason: impl Into<String>) {
        self.put(&Some(reason.into()));
    }

    fn put(&self, reason: &Option<String>) {
        self.conditions.send_if_modified(|conditions| {
            conditions.insert(self.name, reason.clone()).is_none_or(|before| before != *reason)
        });
    }
}

impl Drop for Condition {
    fn drop(&mut self) {
        self.unmet("what tends this condition has stopped");
    }
}

fn missing(conditions: &Conditions) -> Vec<Missing> {
    conditions
        .iter()
        .filter_map(|(name, reason)| reason.clone().map(|reason| Missing { name, reason }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_means_that_every_condition_holds() {
        let readiness = Readiness::new();
        assert!(readiness.is_ready());
        let snapshot = readiness.condition("snapshot", "none applied yet");
        let serving = readiness.condition("serving", "starting");
        serving.met();
        assert_eq!(
            readiness.missing(),
            vec![Missing { name: "snapshot", reason: "none applied yet".to_owned() }]
        );
        snapshot.met();
        readiness.ready().await;
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_condition_nobody_tends_does_not_hold() {
        let readiness = Readiness::new();
        let condition = readiness.condition("lease", "");
        condition.met();
        drop(condition);
        assert_eq!(readiness.missing()[0].name, "lease");
    }
}
