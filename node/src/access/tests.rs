//! Rules and tokens against callers, without a socket.

use std::collections::BTreeSet;
use std::fs;

use http::HeaderValue;
use tempfile::TempDir;

use super::*;

const APP: &str = "app-0123456789abcdef";
const OTHER: &str = "other-0123456789abcdef";

fn folder(tokens: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, token) in tokens {
        fs::write(folder.path().join(name), token).unwrap();
    }
    folder
}

fn rule(name: &str, groups: &[&str], verbs: &[Verb]) -> Rule {
    let groups: BTreeSet<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    Rule {
        name: name.to_owned(),
        groups: (!groups.is_empty()).then_some(groups),
        verbs: verbs.iter().copied().collect(),
    }
}

fn access(tokens: &[(&str, &str)], rules: Vec<Rule>) -> Access {
    let folder = folder(tokens);
    let access = Access::asking(folder.path(), AccessMetrics::default()).unwrap();
    access.rule(Ruling::Rules(rules));
    access
}

fn headers(values: &[&[u8]]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
    }
    headers
}

fn identify(access: &Access, value: &str) -> Result<Option<Caller>, Denied> {
    access.identify(&headers(&[value.as_bytes()]))
}

fn may(access: &Access, token: &str, verb: Verb, group: &str) -> Result<(), Denied> {
    let caller = identify(access, &format!("Bearer {token}"))?;
    // One group has an alias.
    let own = || (group == "alias").then(|| Arc::from("users"));
    access.allow(caller.as_ref(), verb, group, own)
}

#[test]
fn a_token_allows_its_verbs_in_its_groups_and_nothing_else() {
    let rules = vec![rule("app", &["users"], &[Verb::Get, Verb::Set]), rule("other", &[], &[Verb::Remove])];
    let access = access(&[("app", APP), ("other", OTHER)], rules);
    for (token, verb, group, allowed) in [
        (APP, Verb::Get, "users", true),
        (APP, Verb::Set, "users", true),
        (APP, Verb::Get, "alias", true),
        (APP, Verb::Remove, "users", false),
        (APP, Verb::Remove, "alias", false),
        (APP, Verb::Get, "orders", false),
        (APP, Verb::Get, "", false),
        (OTHER, Verb::Remove, "users", true),
        (OTHER, Verb::Remove, "no such group", true),
        (OTHER, Verb::Get, "users", false),
    ] {
        assert_eq!(may(&access, token, verb, group).is_ok(), allowed, "{token} {verb} {group}");
    }
    let said = may(&access, APP, Verb::Get, "orders").unwrap_err().to_string();
    assert_eq!(said, r#"the token "app" does not allow Get in the group "orders""#);
}

#[test]
fn who_shows_no_token_of_a_rule_is_refused_and_told_no_token() {
    // The third has a token and no rule, the last a rule and no token.
    let tokens = [("app", APP), ("other", OTHER), ("stray", "stray-0123456789abcdef")];
    let access = access(
        &tokens,
        vec![
            rule("app", &[], &[Verb::Get]),
            rule("other", &[], &[Verb::Get]),
            rule("gone", &[], &[Verb::Get]),
        ],
    );
    let long = format!("Bearer {}", "x".repeat(groupcache_tls::token::MAX_BYTES + 1));
    for (shown, denied) in [
        ("Bearer stray-0123456789abcdef", Denied::Unknown),
        ("Bearer gone", Denied::Unknown),
        ("Bearer app-0123456789abcde", Denied::Unknown),
        ("Bearer app-0123456789abcdefg", Denied::Unknown),
        ("Basic YXBwOmFwcA==", Denied::Malformed),
        (APP, Denied::Malformed),
        ("Bearer", Denied::Malformed),
        ("Bearer ", Denied::Malformed),
        ("Bearer ==", Denied::Malformed),
        ("Bearerapp-0123456789abcdef", Denied::Malformed),
        ("Bearer app-0123456789abcdef, Bearer other-0123456789abcdef", Denied::Malformed),
        ("", Denied::Malformed),
        (&long, Denied::Malformed),
    ] {
        let said = identify(&access, shown).unwrap_err();
        assert_eq!(said, denied, "{shown:.40}");
        assert!(!said.to_string().contains("0123456789"), "{said}");
    }
    assert_eq!(access.identify(&HeaderMap::new()).unwrap_err(), Denied::Missing);
    let right = format!("Bearer {APP}");
    let two = headers(&[right.as_bytes(), right.as_bytes()]);
    assert_eq!(access.identify(&two).unwrap_err(), Denied::Malformed);
    assert_eq!(access.identify(&headers(&[b"Bearer \xff\xfe"])).unwrap_err(), Denied::Malformed);
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
        assert!(identify(&access, &format!("{scheme} {APP}")).unwrap().is_some(), "{scheme}");
    }
}

#[test]
fn two_names_may_have_one_token_and_then_allow_what_either_does() {
    let rules = vec![rule("a", &["users"], &[Verb::Get]), rule("b", &["orders"], &[Verb::Get])];
    let access = access(&[("a", APP), ("b", APP)], rules);
    assert_eq!(may(&access, APP, Verb::Get, "users"), Ok(()));
    assert_eq!(may(&access, APP, Verb::Get, "orders"), Ok(()));
    assert!(may(&access, APP, Verb::Set, "orders").is_err());
}

#[test]
fn what_is_not_known_is_refused_and_only_an_explicit_word_opens_the_port() {
    let folder = folder(&[("app", APP)]);
    let access = Access::asking(folder.path(), AccessMetrics::default()).unwrap();
    assert_eq!(may(&access, APP, Verb::Get, "users"), Err(Denied::NotReady));
    access.rule(Ruling::Unsaid);
    assert_eq!(may(&access, APP, Verb::Get, "users"), Err(Denied::Unknown));
    assert_eq!(access.allow(None, Verb::Get, "users", || None), Err(Denied::Unknown));
    access.rule(Ruling::Rules(Vec::new()));
    assert_eq!(may(&access, APP, Verb::Get, "users"), Err(Denied::Unknown));
    access.rule(Ruling::Rules(vec![rule("app", &[], &[Verb::Get])]));
    assert_eq!(may(&access, APP, Verb::Get, "users"), Ok(()));
    assert_eq!(access.allow(None, Verb::Get, "users", || None), Err(Denied::Missing));
    access.rule(Ruling::Open);
    assert!(access.identify(&HeaderMap::new()).unwrap().is_none());
    assert_eq!(access.allow(None, Verb::Remove, "users", || None), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_replaced_is_refused_at_the_next_look_even_on_a_stream() {
    let folder = folder(&[("app", APP)]);
    let access = Access::asking(folder.path(), AccessMetrics::default()).unwrap();
    access.rule(Ruling::Rules(vec![rule("app", &[], &[Verb::Get])]));
    let looking = tokio::spawn(access.clone().follow(folder.path().to_owned()));
    let caller = identify(&access, &format!("Bearer {APP}")).unwrap();
    fs::write(folder.path().join("app"), OTHER).unwrap();
    tokio::time::sleep(2 * LOOK).await;
    assert_eq!(access.allow(caller.as_ref(), Verb::Get, "users", || None), Err(Denied::Unknown));
    assert_eq!(may(&access, OTHER, Verb::Get, "users"), Ok(()));
    // Emptied, it admits nobody; a folder that is gone changes nothing.
    fs::write(folder.path().join("app"), "").unwrap();
    tokio::time::sleep(2 * LOOK).await;
    assert_eq!(may(&access, OTHER, Verb::Get, "users"), Err(Denied::Unknown));
    fs::write(folder.path().join("app"), APP).unwrap();
    tokio::time::sleep(2 * LOOK).await;
    drop(folder);
    tokio::time::sleep(2 * LOOK).await;
    assert_eq!(may(&access, APP, Verb::Get, "users"), Ok(()));
    looking.abort();
}
