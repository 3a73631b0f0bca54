//! Who may speak on the cluster port, and by whose certificates; what the data port shows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Encryption and certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Tls {
    /// Between nodes, and from the operator to the nodes: the cluster port.
    pub peer: PeerTls,

    /// For applications: the data port. Left out, it speaks no TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataTls>,
}

/// The data port's certificate. The port then speaks TLS only (HTTP/2 and HTTP/1.1), and asks for no certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DataTls {
    /// A Secret of this namespace with `tls.crt` and `tls.key`, such as a `Certificate` of cert-manager makes, for the names under which applications call.
    /// It is mounted into the pods and read again when it changes, so renewing it restarts nothing; setting, removing or changing this name rolls the pods,
    /// and each speaks TLS once it is replaced.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
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
