//! From the rules of tokens in a spec to those that nodes are given. No token is among them.

use std::collections::HashSet;

use groupcache_crds::CacheClusterSpec;
use groupcache_crds::access::{Token, Verb};
use groupcache_proto::cluster;

/// The rules. Where the spec has none, the nodes are told so: nothing said would close a port that asks for tokens.
pub(super) fn access(spec: &CacheClusterSpec, faults: &mut Vec<String>) -> cluster::Access {
    let Some(asked) = &spec.access else { return cluster::Access { open: true, tokens: Vec::new() } };
    let mut names = HashSet::new();
    for token in &asked.tokens {
        let name = &token.name;
        if !names.insert(name) {
            faults.push(format!("access.tokens: {name} stands twice"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(allowed) {
            faults.push(format!(
                "access.tokens[{name}].name must be of [A-Za-z0-9._-] and must not start with '.'"
            ));
        }
        if token.verbs.is_empty() {
            faults.push(format!("access.tokens[{name}].verbs must have at least one of Get, Set and Remove"));
        }
        // None at all would be all of them to a node.
        if token.groups.as_ref().is_some_and(Vec::is_empty) {
            faults
                .push(format!("access.tokens[{name}].groups must not be empty; leave it out for all groups"));
        }
        for group in token.groups.iter().flatten() {
            if !spec.groups.iter().any(|known| known.name == *group) {
                faults.push(format!("access.tokens[{name}].groups has {group}, which is no entry of groups"));
            }
        }
    }
    cluster::Access { open: false, tokens: asked.tokens.iter().map(rule).collect() }
}

fn rule(token: &Token) -> cluster::TokenRule {
    let verb = |verb: &Verb| match verb {
        Verb::Get => cluster::Verb::Get.into(),
        Verb::Set => cluster::Verb::Set.into(),
        Verb::Remove => cluster::Verb::Remove.into(),
    };
    cluster::TokenRule {
        name: token.name.clone(),
        groups: token.groups.clone().unwrap_or_default(),
        verbs: token.verbs.iter().map(verb).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(access: &str) -> Result<cluster::Access, Vec<String>> {
        let spec = format!("{{ groups: [{{ name: users, maxBytes: 64Mi }}]{access} }}");
        let mut faults = Vec::new();
        let made = super::access(&serde_yaml::from_str(&spec).expect("a spec"), &mut faults);
        if faults.is_empty() { Ok(made) } else { Err(faults) }
    }

    #[test]
    fn rules_reach_the_nodes_and_no_rules_are_told_too() {
        assert_eq!(made(""), Ok(cluster::Access { open: true, tokens: vec![] }));
        let some = made(
            ", access: { secretName: s, tokens: [{ name: a, groups: [users], verbs: [Get, Remove] }, { name: b, verbs: [Set] }] }",
        );
        let some = some.expect("it is sound");
        assert!(!some.open);
        assert_eq!(
            (&some.tokens[0].groups[..], &some.tokens[0].verbs[..]),
            (&["users".to_owned()][..], &[1, 3][..])
        );
        assert_eq!((some.tokens[1].name.as_str(), some.tokens[1].groups.len()), ("b", 0));
        assert!(!format!("{some:?}").contains("secretName"));
    }

    #[test]
    fn what_an_old_definition_lets_pass_is_refused_here() {
        for (tokens, fault) in [
            ("{ name: a, verbs: [Get] }, { name: a, verbs: [Set] }", "a stands twice"),
            ("{ name: a, verbs: [] }", "verbs must have at least one"),
            ("{ name: a, groups: [], verbs: [Get] }", "groups must not be empty"),
            ("{ name: a, groups: [nobody], verbs: [Get] }", "has nobody, which is no entry of groups"),
            ("{ name: .a, verbs: [Get] }", "must not start with '.'"),
            ("{ name: 'a/b', verbs: [Get] }", "must be of [A-Za-z0-9._-]"),
        ] {
            let said = made(&format!(", access: {{ secretName: s, tokens: [{tokens}] }}")).unwrap_err();
            assert!(said.len() == 1 && said[0].contains(fault), "{said:?}");
        }
    }
}
