//! The conditions of a cluster and their reasons: the words that users read and scripts wait for.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// At least one node of the ring serves.
pub const AVAILABLE: &str = "Available";
/// Every node agrees on who is in the ring, and nobody acts by an earlier one.
pub const RING_CONVERGED: &str = "RingConverged";
/// Something is on its way to what the spec asks for.
pub const PROGRESSING: &str = "Progressing";
/// Something is wrong that a person should look at.
pub const DEGRADED: &str = "Degraded";
/// The cluster port's certificates are in use, or it is open as the spec says.
pub const CERTIFICATES_READY: &str = "CertificatesReady";
/// The loaders answer.
pub const LOADERS_REACHABLE: &str = "LoadersReachable";
/// The operator leaves the cluster alone, as the spec says.
pub const PAUSED: &str = "Paused";
/// Every node runs the groups, loaders and rules of the spec, and may mount the Secrets that it names.
pub const CONFIGURATION_APPLIED: &str = "ConfigurationApplied";

/// The reasons, but for those of pods, which are in [`crate::pods`].
pub mod reason {
    /// Available: nodes serve.
    pub const SERVING: &str = "Serving";
    /// Available: no node of the ring serves.
    pub const NO_NODE_SERVES: &str = "NoNodeServes";
    /// Available: the spec was faulty from the beginning on, so there are no groups.
    pub const NEVER_CONFIGURED: &str = "NeverConfigured";
    /// Available, RingConverged: `replicas` is 0.
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    /// RingConverged: all nodes have the version in force.
    pub const CONVERGED: &str = "Converged";
    /// RingConverged: some node has not acknowledged the version in force.
    pub const NOT_ACKNOWLEDGED: &str = "NotAcknowledged";
    /// RingConverged: nodes have one version and yet another ring.
    pub const RINGS_DIFFER: &str = "RingsDiffer";
    /// RingConverged: all nodes know the ring, and an earlier one still binds.
    pub const SETTLING: &str = "Settling";
    /// RingConverged: a node is about to get keys.
    pub const MEMBERS_JOINING: &str = "MembersJoining";
    /// RingConverged, Degraded: members are kept in the ring although they look gone.
    pub const MEMBERS_MISSING: &str = "MembersMissing";
    /// RingConverged, ConfigurationApplied: there is no node to ask.
    pub const NO_NODES: &str = "NoNodes";
    /// Progressing: the spec has just changed.
    pub const RECONCILING: &str = "Reconciling";
    /// Progressing: pods are added or removed.
    pub const SCALING: &str = "Scaling";
    /// Progressing: pods are replaced one by one.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// Progressing: pods exist but are not ready.
    pub const WAITING_FOR_PODS: &str = "WaitingForPods";
    /// Progressing: members join or leave.
    pub const RING_CHANGING: &str = "RingChanging";
    /// Progressing: pods cannot start; see Degraded.
    pub const STALLED: &str = "Stalled";
    /// Progressing: all is as the spec says.
    pub const COMPLETE: &str = "Complete";
    /// LoadersReachable: every loader that was asked answers.
    pub const ANSWERING: &str = "Answering";
    /// LoadersReachable: some loader fails at some node.
    pub const FAILING: &str = "Failing";
    /// LoadersReachable: no loader was asked yet.
    pub const NOT_ASKED: &str = "NotAsked";
    /// LoadersReachable: the spec has none.
    pub const NO_LOADERS: &str = "NoLoaders";
    /// Paused, Progressing, ConfigurationApplied: the spec says so.
    pub const PAUSED: &str = "Paused";
    /// Paused: the operator does its work.
    pub const MANAGED: &str = "Managed";
    /// ConfigurationApplied: all nodes run it.
    pub const APPLIED: &str = "Applied";
    /// ConfigurationApplied: a Secret that the pods are to mount is not there, or not of use.
    pub const SECRET_PENDING: &str = "SecretPending";
    /// ConfigurationApplied: some node does not run it yet.
    pub const PENDING: &str = "Pending";
    /// ConfigurationApplied: some node refuses it.
    pub const REFUSED: &str = "Refused";
    /// ConfigurationApplied: the spec is faulty; what was in force stays in force.
    pub const INVALID: &str = "Invalid";
    /// CertificatesReady: they are in use.
    pub const ISSUED: &str = "Issued";
    /// CertificatesReady: an authority replaces another; nothing is wrong.
    pub const ROTATING: &str = "Rotating";
    /// CertificatesReady: the port is open, as the spec says.
    pub const DISABLED: &str = "Disabled";
    /// CertificatesReady: the Secret that the spec names is not there.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// CertificatesReady: the Secret that the spec names holds no authority.
    pub const NOT_AN_AUTHORITY: &str = "NotAnAuthority";
    /// CertificatesReady: no certificate could be made.
    pub const NOT_ISSUED: &str = "NotIssued";
    /// Degraded: the operator cannot do its work for this cluster.
    pub const RECONCILE_FAILED: &str = "ReconcileFailed";
    /// Degraded: nothing is wrong.
    pub const AS_EXPECTED: &str = "AsExpected";
}

/// Longest message of a condition: enough for several nodes with a cause each.
const MAX_MESSAGE: usize = 1024;

/// What a condition says, before it has a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which condition.
    pub type_: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
    /// One of the reasons above.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(
        type_: &'static str,
        status: &'static str,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Finding { type_, status, reason, message: message.into() }
    }

    /// The condition: with the time of its last change, which is now only if the status is another than before.
    #[must_use]
    pub fn condition(self, before: &[Condition], generation: Option<i64>, now: Timestamp) -> Condition {
        let held = before.iter().find(|held| held.type_ == self.type_ && held.status == self.status);
        Condition {
            type_: self.type_.to_owned(),
            status: self.status.to_owned(),
            reason: self.reason.to_owned(),
            message: self.message.chars().take(MAX_MESSAGE).collect(),
            observed_generation: generation,
            last_transition_time: held.map_or(Time(now), |held| held.last_transition_time.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    /// The page that people read has every reason of this file and of the pods' problems, and none that is gone.
    #[test]
    fn the_reference_names_every_reason() {
        let read = |path: &str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            std::fs::read_to_string(path).expect("a file of this repository")
        };
        let page = read("../docs/operations/conditions.md");
        let reasons: Vec<String> = [read("src/conditions.rs"), read("src/pods.rs")]
            .iter()
            .flat_map(|source| source.lines().map(str::to_owned).collect::<Vec<_>>())
            .filter(|line| line.trim_start().starts_with("pub const") && line.contains(": &str = \""))
            .filter_map(|line| line.split('"').nth(1).map(str::to_owned))
            .collect();
        assert!(reasons.len() > 25, "{reasons:?}");
        for reason in &reasons {
            assert!(page.contains(reason.as_str()), "docs/operations/conditions.md lacks {reason}");
        }
        for row in page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| condition")) {
            let reason = row.split('|').nth(3).map(str::trim).unwrap_or_default();
            assert!(reasons.iter().any(|known| known == reason), "{reason} is no reason of ours");
        }
    }
}
