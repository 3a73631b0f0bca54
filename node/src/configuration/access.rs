//! The rules of tokens from the wire, checked.

use std::collections::{BTreeSet, HashSet};

use groupcache_proto::cluster;

use crate::access::rules::{Rule, Ruling, Verb};
use crate::configuration::{Faults, shown};

/// Most tokens of one cluster: each is compared with the token of every call.
pub const MAX_TOKENS: usize = 32;

/// Longest name of a token, in bytes: that of a key in a Secret.
const MAX_TOKEN_NAME_BYTES: usize = 253;

/// What the configuration says of tokens.
pub(super) fn check_access(wire: &cluster::Configuration, faults: &mut Faults) -> Ruling {
    let Some(access) = &wire.access else { return Ruling::Unsaid };
    if access.open {
        faults.unless(
            access.tokens.is_empty(),
            "access",
            "it is open and names tokens: leave out the one or the other",
        );
        return Ruling::Open;
    }
    let count = access.tokens.len();
    faults.unless(count <= MAX_TOKENS, "access", format!("{count} tokens; at most {MAX_TOKENS} are allowed"));
    let groups: HashSet<&str> = wire.groups.iter().map(|group| group.name.as_str()).collect();
    let mut names = HashSet::new();
    let rules = access.tokens.iter().map(|token| {
        let place = format!("token {}", shown(&token.name));
        faults.unless(names.insert(&token.name), &place, "the name stands twice");
        check_rule(token, &groups, &place, faults)
    });
    Ruling::Rules(rules.collect())
}

fn check_rule(token: &cluster::TokenRule, groups: &HashSet<&str>, place: &str, faults: &mut Faults) -> Rule {
    faults.unless(
        is_token_name(&token.name),
        place,
        format!("a token's name is 1 to {MAX_TOKEN_NAME_BYTES} of [A-Za-z0-9._-] and begins with no dot"),
    );
    for group in token.groups.iter().filter(|group| !groups.contains(group.as_str())) {
        faults.add(place, format!("it names the group {}, which is not among the groups", shown(group)));
    }
    let mut verbs = BTreeSet::new();
    for verb in &token.verbs {
        match cluster::Verb::try_from(*verb) {
            Ok(cluster::Verb::Get) => drop(verbs.insert(Verb::Get)),
            Ok(cluster::Verb::Set) => drop(verbs.insert(Verb::Set)),
            Ok(cluster::Verb::Remove) => drop(verbs.insert(Verb::Remove)),
            Ok(cluster::Verb::Unspecified) | Err(_) => {
                faults.add(place, format!("it has the unknown verb {verb}"));
            }
        }
    }
    faults.unless(!token.verbs.is_empty(), place, "it has no verbs; give some of Get, Set and Remove");
    let groups: BTreeSet<String> = token.groups.iter().cloned().collect();
    Rule { name: token.name.clone(), groups: (!groups.is_empty()).then_some(groups), verbs }
}

/// What can be a key of a Secret, and so a file; hidden files are no tokens.
fn is_token_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_TOKEN_NAME_BYTES).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use groupcache_proto::cluster::{Access, Configuration, Group, GrpcLoader, Loader, TokenRule, loader};

    use super::*;
    use crate::configuration::check;

    fn ruling(access: Option<Access>) -> Result<Ruling, Vec<String>> {
        let kind = loader::Kind::Grpc(GrpcLoader { target: "users:9000".into(), authority: String::new() });
        let loader = Loader { name: "users".into(), kind: Some(kind), ..Default::default() };
        let (name, aliases) = ("users".into(), vec!["people".into()]);
        let group = Group { name, aliases, loader: "users".into(), max_bytes: 1 << 20, ..Default::default() };
        let wire = Configuration { groups: vec![group], loaders: vec![loader], access, ..Default::default() };
        let said =
            |faults: Vec<crate::configuration::Fault>| faults.iter().map(ToString::to_string).collect();
        check(&wire, 8 << 20).map(|checked| checked.access).map_err(said)
    }

    fn rule(name: &str, groups: &[&str], verbs: &[i32]) -> TokenRule {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        TokenRule { name: name.into(), groups, verbs: verbs.into() }
    }

    #[test]
    fn nothing_said_is_not_open_and_no_tokens_are_not_open_either() {
        assert_eq!(ruling(None), Ok(Ruling::Unsaid));
        assert_eq!(ruling(Some(Access::default())), Ok(Ruling::Rules(Vec::new())));
        assert_eq!(ruling(Some(Access { open: true, tokens: Vec::new() })), Ok(Ruling::Open));
        let rules = ruling(Some(Access { open: false, tokens: vec![rule("app", &["users"], &[1, 2, 3])] }));
        let Ok(Ruling::Rules(rules)) = rules else { panic!("{rules:?}") };
        assert_eq!(rules[0].verbs.len(), 3);
        assert_eq!(rules[0].groups.iter().flatten().collect::<Vec<_>>(), ["users"]);
    }

    #[test]
    fn every_fault_of_a_rule_is_named() {
        let of = |tokens| ruling(Some(Access { open: false, tokens })).unwrap_err().join("; ");
        for (tokens, fault) in [
            (vec![rule("a", &[], &[1]), rule("a", &[], &[1])], "token \"a\": the name stands twice"),
            (vec![rule("a", &["nobody"], &[1])], "token \"a\": it names the group \"nobody\""),
            // A rule is for a group, under whichever name it is asked for.
            (vec![rule("a", &["people"], &[1])], "token \"a\": it names the group \"people\""),
            (vec![rule("a", &[], &[])], "token \"a\": it has no verbs"),
            (vec![rule("a", &[], &[1, 0])], "token \"a\": it has the unknown verb 0"),
            (vec![rule("a", &[], &[9])], "token \"a\": it has the unknown verb 9"),
            (vec![rule("../a", &[], &[1])], "a token's name is"),
            (vec![rule(".a", &[], &[1])], "a token's name is"),
            (vec![rule("", &[], &[1])], "a token's name is"),
            ((0..33).map(|n| rule(&format!("t{n}"), &[], &[1])).collect(), "access: 33 tokens; at most 32"),
        ] {
            let said = of(tokens);
            assert!(said.contains(fault), "{said}");
        }
        let both = Some(Access { open: true, tokens: vec![rule("a", &[], &[1])] });
        assert!(ruling(both).unwrap_err()[0].starts_with("access: it is open and names tokens"));
    }
}
