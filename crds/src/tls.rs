//! Who may speak on the cluster port, and by whose certificates.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Encryption and certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Between nodes, and from the operator to the nodes: the cluster port.
    pub peer: PeerTls,
}

/// The cluster port's certificates. Renewed and replaced without restarting a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.mode == 'CaSecret') == has(self.secretName)")
        .message("secretName must be set where mode is CaSecret, and only there")
        .field_path(".secretName")
)]
pub struct PeerTls {
    /// Who issues the certificates. `Disabled` leaves the port open to everybody who reaches it; it can only be chosen, or left, when the object is made.
    #[serde(default)]
    pub mode: PeerTlsMode,

    /// A Secret of this namespace with an authority's `tls.crt` and `tls.key`, for `CaSecret`. A `Certificate` of cert-manager with `isCA: true` makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
}

/// Who issues the cluster port's certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PeerTlsMode {
    /// An authority of this cluster's own, which the operator makes and keeps in the Secret `<name>-peer-ca`.
    #[default]
    OperatorManaged,
    /// The authority in the Secret `secretName`.
    CaSecret,
    /// Nobody: the port is neither encrypted nor does it ask who calls.
    Disabled,
}
