//! Configurations, sound and faulty.

use groupcache_proto::cluster::loader::Kind;
use groupcache_proto::cluster::{Configuration, Group, GrpcLoader, HttpLoader, Loader, SqlLoader};

use super::*;
use crate::configuration::loaders::check_target;

fn loader(name: &str) -> Loader {
    Loader {
        name: name.to_owned(),
        kind: Some(Kind::Grpc(GrpcLoader { target: "dns:///users:9000".into(), authority: String::new() })),
        ..Default::default()
    }
}

fn group(name: &str) -> Group {
    Group { name: name.to_owned(), loader: "users".into(), max_bytes: 1 << 20, ..Default::default() }
}

fn faults(groups: Vec<Group>, loaders: Vec<Loader>) -> Vec<String> {
    let wire = Configuration { groups, loaders, ..Default::default() };
    check(&wire, 8 << 20).map_or_else(|f| f.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn zeros_become_the_documented_defaults() {
    let wire =
        Configuration { groups: vec![group("users")], loaders: vec![loader("users")], ..Default::default() };
    let checked = check(&wire, 1 << 20).expect("it is sound");
    let (group, loader) = &checked.groups[0];
    assert_eq!((group.max_key_bytes, group.max_value_bytes), (1024, 1 << 20));
    assert_eq!((group.ttl, group.negative_ttl), (None, None));
    assert_eq!((loader.max_in_flight, loader.max_queued, loader.max_attempts), (64, 256, 1));
    let (window, open) = (Duration::from_secs(10), Duration::from_secs(5));
    assert_eq!(loader.breaker, BreakerSettings { failure_percent: 50, window, open });
    assert_eq!(group.load_timeout, Duration::from_millis(1250));
    assert!(matches!(&loader.kind, LoaderKind::Grpc { target, .. } if target == "users:9000"));
}

#[test]
fn freshness_is_taken_as_it_is_said() {
    let mut all = group("users");
    all.ttl_ms = 60_000;
    all.stale_while_revalidate_ms = 1_000;
    all.stale_if_error_ms = 3_600_000;
    all.early_refresh_percent = 10;
    all.source_lag_ms = 2_000;
    all.abandoned_loads = AbandonedLoads::Cancel.into();
    let wire = Configuration { groups: vec![all], loaders: vec![loader("users")], ..Default::default() };
    let checked = check(&wire, 1 << 20).expect("it is sound");
    let group = &checked.groups[0].0;
    let stale = (group.stale_while_revalidate, group.stale_if_error);
    assert_eq!(stale, (Duration::from_secs(1), Duration::from_secs(3_600)));
    assert_eq!((group.early_refresh_percent, group.source_lag), (10, Duration::from_secs(2)));
    assert_eq!(group.abandoned_loads, group::AbandonedLoads::Cancel);
}

#[test]
fn every_fault_is_named_not_just_the_first() {
    let mut zero = group("zero");
    zero.max_bytes = 0;
    zero.hot_percent = 51;
    zero.early_refresh_percent = 51;
    zero.source_lag_ms = 301_000;
    let mut lost = group("lost");
    lost.loader = "nobody".into();
    let mut huge = group("huge");
    huge.max_bytes = 64 << 20;
    let mut twin = group("twin");
    twin.aliases = vec!["lost".into()];
    let bad = Loader {
        name: "Bad_Name".into(),
        kind: Some(Kind::Http(HttpLoader { url: "ftp://x/{key}".into() })),
        ..Default::default()
    };
    let said = faults(
        vec![zero, lost, huge, twin, group(&"long".repeat(20)), group("users"), group("users")],
        vec![loader("users"), bad],
    );
    for expected in [
        "group \"zero\": maxBytes is 0",
        "group \"zero\": hotPercent is 51",
        "group \"zero\": earlyRefreshPercent is 51",
        "group \"zero\": sourceLag is 301 s",
        "group \"lost\": it names the loader \"nobody\"",
        "the groups' budgets add up to",
        "group \"twin\": the name or alias \"lost\" is also group \"lost\"'s",
        "a group's name is 1 to 63",
        "group \"users\": the name or alias \"users\" is also",
        "loader \"Bad_Name\": a loader's name is 1 to 63",
        "loader \"Bad_Name\": the URL",
    ] {
        assert!(said.iter().any(|s| s.contains(expected)), "{expected} is missing in {said:#?}");
    }
    assert_eq!(said.len(), 11, "{said:#?}");
}

#[test]
fn what_is_not_served_yet_is_refused_by_name() {
    let mut all = group("all");
    all.mode = GroupMode::Replicated.into();
    (all.on_quorum_loss, all.abandoned_loads) = (99, 99);
    let sql = Loader { name: "db".into(), kind: Some(Kind::Sql(SqlLoader::default())), ..Default::default() };
    let said = faults(vec![all], vec![loader("users"), sql]);
    for feature in ["mode", "onQuorumLoss", "abandonedLoads", "sql"] {
        let named = said.iter().any(|s| s.contains(feature) && s.contains("is not served by this release"));
        assert!(named, "{feature} is missing in {said:#?}");
    }
}

#[test]
fn a_target_is_a_host_and_a_port() {
    for good in ["users:9000", "dns:///users.shop.svc:9000", "10.0.0.1:1", "[::1]:9000"] {
        assert!(check_target(good).is_ok(), "{good}");
    }
    for bad in ["", "users", "users:0", ":9000", "http://users:9000", "us ers:1", "users:99999"] {
        assert!(check_target(bad).is_err(), "{bad}");
    }
}

#[test]
fn tries_and_breaker_are_as_they_were_named() {
    let mut tries = loader("users");
    tries.max_attempts = 5;
    let breaker = cluster::CircuitBreaker { failure_percent: 100, window_seconds: 0, open_seconds: 600 };
    tries.circuit_breaker = Some(breaker);
    let wire =
        Configuration { groups: vec![group("users")], loaders: vec![tries.clone()], ..Default::default() };
    let (_, made) = &check(&wire, 1 << 20).expect("it is sound").groups[0];
    let (window, open) = (Duration::from_secs(10), Duration::from_secs(600));
    assert_eq!(
        (made.max_attempts, made.breaker),
        (5, BreakerSettings { failure_percent: 100, window, open })
    );

    tries.max_attempts = 6;
    tries.circuit_breaker =
        Some(cluster::CircuitBreaker { failure_percent: 101, window_seconds: 601, open_seconds: 601 });
    let said = faults(vec![group("users")], vec![tries]);
    for expected in [
        "loader \"users\": maxAttempts is 6; it is 1 to 5",
        "loader \"users\": circuitBreaker.failurePercent is 101; it is 1 to 100",
        "loader \"users\": circuitBreaker.windowSeconds is 601 s",
        "loader \"users\": circuitBreaker.openSeconds is 601 s",
    ] {
        assert!(said.iter().any(|s| s.contains(expected)), "{expected} is missing in {said:#?}");
    }
    assert_eq!(said.len(), 4, "{said:#?}");
}
