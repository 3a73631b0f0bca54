//! Who may call the data port: tokens in a Secret, and what each of them allows.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Tokens that applications send as `Authorization: Bearer TOKEN`. Health and reflection ask for none. Without `tls.data` tokens travel in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.tokens.all(t, !t.name.startsWith('.'))")
        .message("tokens[].name must not start with '.'")
        .field_path(".tokens")
)]
pub struct Access {
    /// A Secret of this namespace whose keys are the names of tokens and whose values are the tokens: 16 to 4096 of letters, digits and `-._~+/`.
    /// It is mounted into the pods and read again when it changes, so changing what is in it restarts nothing; setting, removing or changing this name rolls
    /// the pods, and each asks for tokens once it is replaced.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,

    /// What each token allows. Changes apply to running nodes; no pod is restarted. Keys of the Secret that are not named here admit nobody.
    #[schemars(length(min = 1, max = 32))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub tokens: Vec<Token>,
}

/// What one token allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    /// The key of the Secret that holds the token. Where it holds none, nobody is admitted by it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub name: String,

    /// The groups it is for, by their names; left out: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub groups: Option<Vec<String>>,

    /// What its holders may do there.
    #[schemars(length(min = 1, max = 3))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub verbs: Vec<Verb>,
}

/// Something that can be done to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Get and GetMany.
    Get,
    /// Set.
    Set,
    /// Remove, RemoveMany and Flush.
    Remove,
}
