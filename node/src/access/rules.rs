//! What the holders of tokens may do: named rules, each with verbs and groups. They hold no token.

use std::collections::BTreeSet;
use std::fmt;

/// Something that can be done to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Get and GetMany.
    Get,
    /// Set.
    Set,
    /// Remove, RemoveMany and Flush.
    Remove,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verb::Get => "Get",
            Verb::Set => "Set",
            Verb::Remove => "Remove",
        })
    }
}

/// What a configuration says of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing: where tokens are asked for, nobody is answered.
    #[default]
    Unsaid,
    /// Tokens are not asked for.
    Open,
    /// Who holds one of these tokens may do what its rule says, and nobody else anything.
    Rules(Vec<Rule>),
}

/// What the holders of one token may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name of the token's file.
    pub name: String,
    /// In which groups; `None`: in all.
    pub groups: Option<BTreeSet<String>>,
    /// What.
    pub verbs: BTreeSet<Verb>,
}

impl Rule {
    /// True if it allows that in the group with that name of its own, no alias.
    pub(super) fn allows(&self, verb: Verb, group: &str) -> bool {
        self.verbs.contains(&verb) && self.groups.as_ref().is_none_or(|groups| groups.contains(group))
    }
}
