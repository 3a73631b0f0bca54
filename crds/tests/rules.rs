//! The definition's rules, evaluated as an API server does: what is taken, and what is refused with which words.

use std::sync::LazyLock;

use groupcache_crds::manifest;
use kube::core::cel;
use serde_json::{Value, json};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let definition = manifest::definition().expect("the definition");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
});

fn sound() -> Value {
    json!({
        "apiVersion": "groupcache.dev/v1alpha1",
        "kind": "CacheCluster",
        "metadata": {"name": "quick", "namespace": "shop"},
        "spec": {
            "resources": {"limits": {"memory": "256Mi"}},
            "loaders": [{"name": "people", "http": {"url": "http://people/{key}"}}],
            "groups": [{"name": "users", "maxBytes": "64Mi"}],
        },
    })
}

/// What the rules say to a sound object with these places (JSON pointers) changed; null removes.
fn refusals(changes: &[(&str, Value)]) -> Vec<String> {
    let mut object = sound();
    for (place, value) in changes {
        let (parent, field) = place.rsplit_once('/').expect("a place");
        let parent = object.pointer_mut(parent).expect("the parent is there");
        match parent {
            Value::Object(fields) if value.is_null() => drop(fields.remove(field)),
            Value::Object(fields) => drop(fields.insert(field.to_owned(), value.clone())),
            Value::Array(items) if field == "-" => items.push(value.clone()),
            Value::Array(items) => items[field.parse::<usize>().expect("an index")] = value.clone(),
            _ => panic!("{place} is in no object and no list"),
        }
    }
    let done = cel::Validator::new().validate(&SCHEMA, &object, None);
    done.err().into_iter().flatten().map(|e| e.to_string()).collect()
}

#[test]
fn what_is_sound_is_taken() {
    let table: &[&[(&str, Value)]] = &[
        &[],
        &[("/spec/groups", json!([])), ("/spec/resources", Value::Null), ("/spec/loaders", Value::Null)],
        &[("/spec/groups/0/loaderName", json!("people"))],
        &[("/spec/groups/0/maxBytes", json!(1_048_576))],
        &[("/spec/groups/0/maxBytes", json!("179Mi"))],
        &[("/spec/groups/0/maxBytes", json!("200Mi")), ("/spec/memory", json!({"cachePercent": 80}))],
        &[("/spec/resources/limits/memory", json!("0.25Gi"))],
        &[("/spec/resources/limits/memory", json!(268_435_456))],
        &[("/spec/groups/0/ttlSeconds", json!(60)), ("/spec/groups/0/negativeTtlSeconds", json!(60))],
        &[("/spec/groups/0/negativeTtlSeconds", json!(60))],
        &[
            ("/spec/groups/0/ttlSeconds", json!(60)),
            ("/spec/groups/0/staleWhileRevalidateSeconds", json!(60)),
            ("/spec/groups/0/staleIfErrorSeconds", json!(86_400)),
            ("/spec/groups/0/earlyRefreshPercent", json!(50)),
        ],
        &[
            ("/spec/groups/0/earlyRefreshPercent", json!(0)),
            ("/spec/groups/0/sourceLagSeconds", json!(300)),
            ("/spec/groups/0/abandonedLoads", json!("Cancel")),
        ],
        &[("/spec/groups/-", json!({"name": "more", "maxBytes": "100Mi", "maxValueBytes": "8Mi"}))],
        &[("/metadata/name", json!("a234567890123456789012345678901234567890"))],
        &[("/spec/loaders/0", json!({"name": "people", "grpc": {"target": "people:9000"}}))],
        &[(
            "/spec/loaders/0",
            json!({"name": "people", "grpc": {"target": "proxy:1", "authority": "people:443"}}),
        )],
        &[(
            "/spec/loaders/0",
            json!({"name": "people", "grpc": {"target": "proxy:1", "authority": "[::1]"}}),
        )],
        &[("/spec/invalidation", json!({"stalenessBoundSeconds": 1}))],
        &[("/spec/tls", json!({"peer": {"mode": "Disabled"}}))],
        &[("/spec/tls", json!({"peer": {"mode": "CaSecret", "secretName": "mine"}}))],
        &[("/spec/invalidation", json!({"stalenessBoundSeconds": 2, "purgeTimeoutMilliseconds": 2000}))],
        &[("/spec/tls", json!({"data": {"secretName": "shown"}}))],
        &[(
            "/spec/access",
            json!({"secretName": "tokens", "tokens": [
                {"name": "reader", "groups": ["users"], "verbs": ["Get"]},
                {"name": "writer.v2", "verbs": ["Get", "Set", "Remove"]},
            ]}),
        )],
        &[
            ("/spec/loaders/0/retry", json!({"maxAttempts": 5})),
            ("/spec/loaders/0/circuitBreaker", json!({"failurePercent": 100, "openSeconds": 300})),
        ],
    ];
    taken(table);
}

#[test]
fn what_cannot_work_is_refused_with_the_field_and_the_rule() {
    let other = json!({"name": "other", "http": {"url": "http://other/{key}"}});
    let table: &[(&[(&str, Value)], &str)] = &[
        (&[("/spec/groups/0/maxBytes", json!(0))], "maxBytes must be greater than 0"),
        (&[("/spec/groups/0/maxBytes", json!("0Mi"))], "maxBytes must be greater than 0"),
        (
            &[("/spec/groups/0/maxValueBytes", json!(0))],
            "maxValueBytes must be greater than 0 and at most 8Mi",
        ),
        (
            &[("/spec/groups/0/maxValueBytes", json!("9Mi"))],
            "maxValueBytes must be greater than 0 and at most 8Mi",
        ),
        (&[("/spec/groups/0/maxBytes", json!("512Ki"))], "maxValueBytes must not be greater than maxBytes"),
        (
            &[("/spec/groups/0/ttlSeconds", json!(60)), ("/spec/groups/0/negativeTtlSeconds", json!(61))],
            "negativeTtlSeconds must not be greater than ttlSeconds",
        ),
        (
            &[("/spec/groups/0/staleWhileRevalidateSeconds", json!(60))],
            "staleWhileRevalidateSeconds must have ttlSeconds beside it",
        ),
        (
            &[("/spec/groups/0/staleIfErrorSeconds", json!(60))],
            "staleIfErrorSeconds must have ttlSeconds beside it",
        ),
        (
            &[("/spec/groups/0/earlyRefreshPercent", json!(10))],
            "earlyRefreshPercent must have ttlSeconds beside it",
        ),
        (
            &[("/spec/groups/0/loaderName", json!("nobody"))],
            "groups[].loaderName must name an entry of loaders",
        ),
        (&[("/spec/loaders/-", other)], "groups[].loaderName must name an entry of loaders"),
        (&[("/spec/loaders", json!([]))], "groups[].loaderName must name an entry of loaders"),
        (
            &[("/spec/loaders/0/grpc", json!({"target": "a:1"}))],
            "spec.loaders[0].grpc: exactly one of grpc and http must be set",
        ),
        (&[("/spec/loaders/0/http", Value::Null)], "exactly one of grpc and http must be set"),
        (&[("/spec/loaders/0/http/url", json!("http://people/"))], "url must contain {key}"),
        (&[("/spec/resources", Value::Null)], "resources.limits.memory must be set"),
        (&[("/spec/resources/limits", json!({"cpu": 1}))], "resources.limits.memory must be set"),
        (&[("/spec/groups/0/maxBytes", json!("180Mi"))], "groups[].maxBytes together must not be greater"),
        (
            &[("/spec/groups/-", json!({"name": "more", "maxBytes": "120Mi"}))],
            "groups[].maxBytes together must not be greater",
        ),
        (&[("/spec/memory", json!({"cachePercent": 10}))], "groups[].maxBytes together must not be greater"),
        (
            &[("/spec/invalidation", json!({"stalenessBoundSeconds": 2, "purgeTimeoutMilliseconds": 2001}))],
            "stalenessBoundSeconds must not be shorter than purgeTimeoutMilliseconds",
        ),
        (
            &[("/spec/invalidation", json!({"purgeTimeoutMilliseconds": 5001}))],
            "stalenessBoundSeconds must not be shorter than purgeTimeoutMilliseconds",
        ),
    ];
    refused(table);
}

#[test]
fn no_more_is_set_aside_than_may_be_used() {
    taken(&[
        &[("/spec/resources/requests", json!({"memory": "256Mi", "cpu": 4, "ephemeral-storage": "1Gi"}))],
        &[
            ("/spec/resources/requests", json!({"memory": "0.25Gi", "cpu": "1500m"})),
            ("/spec/resources/limits/cpu", json!("1.5")),
        ],
        &[
            ("/spec/resources/requests", json!({"memory": "1Gi"})),
            ("/spec/resources/limits", Value::Null),
            ("/spec/groups", json!([])),
        ],
    ]);
    refused(&[
        (
            &[("/spec/resources/requests", json!({"memory": "257Mi"}))],
            "spec.resources.requests: requests must not be greater than limits",
        ),
        (
            &[
                ("/spec/resources/requests", json!({"cpu": "1001m"})),
                ("/spec/resources/limits/cpu", json!(1)),
            ],
            "requests must not be greater than limits",
        ),
    ]);
}

#[test]
fn a_name_or_an_alias_means_one_group() {
    let more = |asked: Value| ("/spec/groups/-", asked);
    taken(&[&[
        ("/spec/groups/0/aliases", json!(["people", "Users"])),
        ("/spec/groups/-", json!({"name": "more", "maxBytes": "1Mi", "aliases": ["others"]})),
    ]]);
    let told = "names and aliases of groups must be unique";
    refused(&[
        (&[("/spec/groups/0/aliases", json!(["users"]))], told),
        (&[more(json!({"name": "more", "maxBytes": "1Mi", "aliases": ["users"]}))], told),
        (
            &[
                ("/spec/groups/0/aliases", json!(["a", "people"])),
                more(json!({"name": "more", "maxBytes": "1Mi", "aliases": ["b", "people"]})),
            ],
            told,
        ),
    ]);
}

#[test]
fn a_port_that_there_cannot_be_is_refused() {
    let loaders = |ports: &[&str]| {
        let of = |port: &&str| {
            let grpc = json!({"name": "g", "grpc": {"target": format!("people:{port}")}});
            // What follows the host is no port.
            let http = json!({"name": "h", "http": {"url": format!("https://people:{port}/{{key}}:0/:0/")}});
            [grpc, http]
        };
        let loaders: Vec<Value> = ports.iter().flat_map(of).collect();
        refusals(&[("/spec/groups/0/loaderName", json!("g")), ("/spec/loaders", json!(loaders))])
    };
    let sound = ["1", "80", "09000", "9999", "59999", "64999", "65499", "65529", "65535"];
    assert_eq!(loaders(&sound), Vec::<String>::new());
    let none = ["0", "00000", "65536", "65540", "65600", "66000", "70000", "99999"];
    let said = loaders(&none);
    for (kind, told) in [
        ("grpc.target", "target must end with a port of 1 to 65535"),
        ("http.url", "url must name a port of 1 to 65535"),
    ] {
        let of_kind = said.iter().filter(|said| said.contains(kind) && said.contains(told));
        assert_eq!(of_kind.count(), none.len(), "{said:#?}");
    }
    assert_eq!(said.len(), 2 * none.len());
    let long = json!("http://people:100000/{key}");
    let named = json!({"name": "people", "grpc": {"target": "proxy:1", "authority": "people:65536"}});
    refused(&[
        (&[("/spec/loaders/0/http/url", long)], "url must name a port of 1 to 65535"),
        (&[("/spec/loaders/0", named)], "authority must name a port of 1 to 65535"),
    ]);
    for host in ["[fd00::1]", "[fd00::99999]:80", "people"] {
        let url = json!(format!("http://{host}/{{key}}"));
        assert_eq!(refusals(&[("/spec/loaders/0/http/url", url)]), Vec::<String>::new(), "{host}");
    }
}

/// The API server fills in defaults before it asks the rules; here they are written out.
#[test]
fn the_port_is_open_or_closed_for_as_long_as_the_object_lives() {
    let of = |mode: &str| {
        let mut object = sound();
        object["spec"]["tls"] = json!({"peer": {"mode": mode}});
        object
    };
    let change = |from: &str, to: &str| {
        let done = cel::Validator::new().validate(&SCHEMA, &of(to), Some(&of(from)));
        done.err().into_iter().flatten().map(|error| error.to_string()).collect::<String>()
    };
    let said = change("OperatorManaged", "Disabled");
    assert!(said.contains("must not be changed to or from Disabled"), "{said}");
    assert!(!change("Disabled", "OperatorManaged").is_empty());
    assert_eq!(change("Disabled", "Disabled"), "");
}

#[test]
fn a_secret_is_named_where_it_is_used_and_only_there() {
    refused(&[
        (
            &[("/spec/tls", json!({"peer": {"mode": "CaSecret"}}))],
            "secretName must be set where mode is CaSecret",
        ),
        (
            &[("/spec/tls", json!({"peer": {"mode": "OperatorManaged", "secretName": "mine"}}))],
            "secretName must be set where mode is CaSecret, and only there",
        ),
    ]);
}

#[test]
fn a_token_is_for_groups_that_there_are_and_its_name_can_be_a_file() {
    let tokens = |of: Value| [("/spec/access", json!({"secretName": "tokens", "tokens": [of]}))];
    refused(&[
        (
            &tokens(json!({"name": "a", "groups": ["users", "nobody"], "verbs": ["Get"]})),
            "access.tokens[].groups must name entries of groups",
        ),
        (&tokens(json!({"name": ".a", "verbs": ["Get"]})), "tokens[].name must not start with '.'"),
    ]);
}

#[test]
fn a_toleration_that_kubernetes_would_refuse_is_refused() {
    let tolerations = |of: Value| [("/spec/scheduling", json!({"tolerations": [of]}))];
    assert_eq!(refusals(&tolerations(json!({"operator": "Exists"}))), Vec::<String>::new());
    assert_eq!(refusals(&tolerations(json!({"key": "a", "effect": "NoSchedule"}))), Vec::<String>::new());
    refused(&[
        (&tolerations(json!({"value": "a"})), "operator must be Exists where there is no key"),
        (
            &tolerations(json!({"key": "a", "operator": "Exists", "value": "b"})),
            "value must not be set where operator is Exists",
        ),
        (
            &tolerations(json!({"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5})),
            "effect must be NoExecute where tolerationSeconds is set",
        ),
    ]);
}

#[test]
fn constraints_of_the_users_replace_the_word_that_stands_for_ours() {
    let constraints = json!([{"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}]);
    let of = |spread: &str| {
        [("/spec/scheduling", json!({"spread": spread, "topologySpreadConstraints": constraints.clone()}))]
    };
    for spread in ["Preferred", "Disabled"] {
        assert_eq!(refusals(&of(spread)), Vec::<String>::new(), "{spread}");
    }
    refused(&[(&of("Required"), "spread must not be Required where there are topologySpreadConstraints")]);
}

#[test]
fn a_name_that_cannot_be_a_services_is_refused() {
    refused(&[
        (&[("/metadata/name", json!("a".repeat(41)))], "metadata.name must be at most 40 characters"),
        (&[("/metadata/name", json!("a.b"))], "metadata.name must start with a letter"),
        (&[("/metadata/name", json!("1a"))], "metadata.name must start with a letter"),
    ]);
}

/// Each change by itself is taken.
fn taken(table: &[&[(&str, Value)]]) {
    for changes in table {
        assert_eq!(refusals(changes), Vec::<String>::new(), "{changes:?}");
    }
}

/// Each change by itself is refused, with these words.
fn refused(table: &[(&[(&str, Value)], &str)]) {
    for (changes, expected) in table {
        let said = refusals(changes);
        assert!(said.len() == 1 && said[0].contains(expected), "{changes:?}: {said:#?}, not {expected:?}");
    }
}

#[test]
fn the_largest_sums_do_not_run_over() {
    let group = |n: usize| json!({"name": format!("g{n}"), "maxBytes": "999999999999999"});
    let many: Vec<Value> = (0..64).map(group).collect();
    let said = refusals(&[("/spec/groups", json!(many)), ("/spec/memory", json!({"cachePercent": 10}))]);
    assert!(said.len() == 1 && said[0].contains("together must not be greater"), "{said:#?}");
}

#[test]
fn the_object_in_the_charts_notes_is_taken() {
    let notes = include_str!("../../charts/groupcache-operator/templates/NOTES.txt");
    let pasted = notes
        .split("\nkubectl apply --server-side -f - <<'EOF'\n")
        .nth(1)
        // A shell sees the end only at the start of a line.
        .and_then(|rest| rest.split_once("\nEOF\n"))
        .map(|(object, _)| object)
        .expect("an object to paste");
    let (before, after) = pasted.split_once("{{").expect("the namespace is a template");
    let after = after.split_once("}}").expect("its end").1;
    let object: Value = serde_yaml::from_str(&format!("{before}shop{after}")).expect("YAML");
    let said = cel::Validator::new().validate(&SCHEMA, &object, None);
    assert!(said.is_ok(), "{said:?}");
    serde_json::from_value::<groupcache_crds::CacheCluster>(object).expect("every field is known");
}
