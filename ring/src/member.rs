//! One node as the others know it: its name, its process, where it listens and what it may do.

use std::fmt;

/// Longest name of a member, in bytes: a pod's name.
pub const MAX_NAME_BYTES: usize = 253;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Known to all; owns nothing and keeps nothing.
    Joining,
    /// Owns its share of the keys.
    Active,
    /// Owns nothing any more; still answers for what it holds.
    Draining,
}

impl State {
    /// The state as a word, for logs and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            State::Joining => "Joining",
            State::Active => "Active",
            State::Draining => "Draining",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The pod's name: the identity in the ring, stable across restarts. Never an address.
    pub name: String,
    /// The pod's uid; empty where there is no Kubernetes. Tells a replaced pod from its predecessor.
    pub pod_uid: String,
    /// The process's random boot id; 0: not known yet.
    pub boot: u64,
    /// Host and port of its cluster port.
    pub address: String,
    /// The zone it runs in; empty: unknown.
    pub zone: String,
    /// What it may do.
    pub state: State,
}

impl Member {
    /// An active member of which only name and address are known.
    #[must_use]
    pub fn active(name: impl Into<String>, address: impl Into<String>) -> Self {
        Member {
            name: name.into(),
            pod_uid: String::new(),
            boot: 0,
            address: address.into(),
            zone: String::new(),
            state: State::Active,
        }
    }
}
