//! The comparison on small samples of an audit log and of roles.

use serde_json::json;

use super::*;

const USER: &str = "system:serviceaccount:groupcache-system:groupcache-operator";

/// A line of the log, as the API server writes it.
fn line(user: &str, verb: &str, resource: &str, code: u16, decision: &str) -> String {
    let (resource, part) = resource.split_once('/').unwrap_or((resource, ""));
    let mut object = json!({"resource": resource, "namespace": "shop", "name": "a", "apiVersion": "v1"});
    if !part.is_empty() {
        object["subresource"] = json!(part);
    }
    if resource == "statefulsets" {
        object["apiGroup"] = json!("apps");
    }
    let event = json!({
        "kind": "Event", "level": "Metadata", "stage": "ResponseComplete", "verb": verb, "user": {"username": user},
        "objectRef": object, "responseStatus": {"code": code}, "requestReceivedTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {"authorization.k8s.io/decision": decision},
    });
    format!("{event}\n")
}

fn account(lines: &[String]) -> Account {
    let mut account = Account::default();
    account.read(&lines.concat(), USER).unwrap();
    account
}

fn used(lines: &[String]) -> Vec<String> {
    account(lines).used.iter().map(ToString::to_string).collect()
}

/// One role, bound to the operator, and another that is bound to somebody else.
fn roles(rules: &Value) -> BTreeSet<(Right, String)> {
    let binding = |name: &str, account: &str| {
        json!({
            "metadata": {"name": name, "namespace": "groupcache-system"},
            "roleRef": {"kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": "groupcache-system"}],
        })
    };
    let role = |name: &str, namespace: &str, rules: &Value| json!({"kind": "Role", "metadata": {"name": name, "namespace": namespace}, "rules": rules});
    let everything = json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]);
    granted(
        &json!({"items": [binding("ours", "groupcache-operator"), binding("theirs", "other")]}),
        &json!({"items": [
            role("ours", "groupcache-system", rules),
            role("ours", "elsewhere", &everything),
            role("theirs", "groupcache-system", &everything),
        ]}),
    )
}

/// Turned red by: a request that is overlooked, or somebody else's that is counted.
#[test]
fn what_the_account_did_is_read_from_the_log() {
    let lines = [
        line(USER, "get", "pods", 200, "allow"),
        line(USER, "create", "pods/eviction", 429, "allow"),
        line("system:admin", "delete", "pods", 200, "allow"),
        "{\"half\": ".to_owned(),
    ];

    assert_eq!(used(&lines), ["get pods", "create pods/eviction"]);
}

/// Turned red by: taking the right to create for needless, because server-side apply makes objects by a patch.
#[test]
fn an_apply_that_makes_the_object_uses_the_right_to_create() {
    let patch = |code| [line(USER, "patch", "statefulsets", code, "allow")];

    assert_eq!(used(&patch(201)), ["create statefulsets (apps)", "patch statefulsets (apps)"]);
    assert_eq!(used(&patch(200)), ["patch statefulsets (apps)"]);
}

/// Turned red by: a request without a right that goes unnoticed, or one into a namespace under deletion that is taken for it.
#[test]
fn only_what_was_forbidden_by_the_roles_is_a_fault() {
    let account =
        account(&[line(USER, "create", "secrets", 403, "allow"), line(USER, "list", "nodes", 403, "forbid")]);

    let faults = faults(&account, &BTreeSet::new(), None);

    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with("forbidden: list nodes, at 2026"), "{faults:?}");
}

/// Turned red by: a needless right that passes, or one that is found although only a part of the scenarios ran.
#[test]
fn a_right_that_was_never_used_is_a_fault_of_a_whole_run() {
    let granted = roles(&json!([
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "delete"]},
        {"apiGroups": ["apps"], "resources": ["*"], "verbs": ["patch"]},
    ]));
    let account = account(&[
        line(USER, "get", "pods", 200, "allow"),
        line(USER, "patch", "statefulsets", 200, "allow"),
    ]);

    let whole = faults(&account, &granted, Some(&[]));

    assert_eq!(whole.len(), 2, "{whole:?}");
    assert!(whole[0].starts_with("granted and never used: delete pods, by the role ours"), "{whole:?}");
    // A star grants more than anybody can use.
    assert!(whole[1].starts_with("granted and never used: patch * (apps)"), "{whole:?}");
    assert_eq!(faults(&account, &granted, None), Vec::<String>::new());
}

/// Turned red by: an excuse that does not count, or one that stays when its right is gone.
#[test]
fn a_rare_right_is_excused_while_it_is_granted() {
    let granted = roles(&json!([{"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]}]));
    let rare = [("create pods/eviction", "only a rollout evicts")];

    assert_eq!(faults(&Account::default(), &granted, Some(&rare)), Vec::<String>::new());
    let stale = faults(&Account::default(), &BTreeSet::new(), Some(&rare));
    assert!(stale.len() == 1 && stale[0].contains("excuses create pods/eviction"), "{stale:?}");
}

#[test]
fn an_operator_that_is_uninstalled_may_ask_for_its_lease_and_for_nothing_else() {
    let right = |resource: &str| Right {
        group: "coordination.k8s.io".to_owned(),
        resource: resource.to_owned(),
        verb: "update".to_owned(),
    };
    let forbidden = ["leases", "others"].map(|resource| (right(resource), "then".to_owned())).into();
    let account = Account { forbidden, ..Account::default() };
    assert_eq!(
        faults(&account, &BTreeSet::new(), None),
        ["forbidden: update others (coordination.k8s.io), at then"]
    );
}
