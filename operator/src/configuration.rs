//! From the groups, loaders and rules of a spec to the configuration that nodes are given; every fault is named.
//!
//! The definition's own rules refuse most of these faults at `kubectl apply`. They are checked again here because the
//! definition in the cluster may be older than this operator.

use std::collections::HashSet;

use groupcache_crds::group::OnQuorumLoss;
use groupcache_crds::invalidation::{DEFAULT_PURGE_TIMEOUT_MILLISECONDS, DEFAULT_STALENESS_BOUND_SECONDS};
use groupcache_crds::{AbandonedLoads, CacheClusterSpec, Group, Loader, Quantity};
use groupcache_proto::cluster;
use tonic::transport::Uri;

mod access;

/// After this long without a word a node has certainly stopped serving copies, unless a spec says otherwise.
pub const STALENESS_BOUND_MS: u64 = DEFAULT_STALENESS_BOUND_SECONDS as u64 * 1000;
/// What a purge may take at one node, unless a spec says otherwise.
pub const PURGE_TIMEOUT_MS: u64 = DEFAULT_PURGE_TIMEOUT_MILLISECONDS as u64;

/// The configuration of this spec.
///
/// # Errors
/// Every fault found, each naming the field and the rule.
pub fn configuration(spec: &CacheClusterSpec) -> Result<cluster::Configuration, Vec<String>> {
    let mut faults = Vec::new();
    let loaders = spec.loaders.iter().map(|asked| loader(asked, &mut faults)).collect();
    let groups = spec.groups.iter().map(|asked| group(asked, spec, &mut faults)).collect();
    check_names(spec, &mut faults);
    check_memory(spec, &mut faults);
    let (staleness_bound_ms, purge_timeout_ms) = invalidation(spec, &mut faults);
    let access = Some(access::access(spec, &mut faults));
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(cluster::Configuration { groups, loaders, staleness_bound_ms, purge_timeout_ms, access })
}

fn invalidation(spec: &CacheClusterSpec, faults: &mut Vec<String>) -> (u64, u64) {
    let bound = milliseconds(Some(spec.invalidation.staleness_bound_seconds));
    let purge = u64::from(natural(spec.invalidation.purge_timeout_milliseconds));
    if bound == 0 || purge == 0 {
        faults.push(
            "invalidation: stalenessBoundSeconds and purgeTimeoutMilliseconds must be greater than 0"
                .to_owned(),
        );
    } else if bound < purge {
        faults.push(format!(
            "invalidation.stalenessBoundSeconds is {} and must not be shorter than invalidation.purgeTimeoutMilliseconds, {purge}",
            spec.invalidation.staleness_bound_seconds
        ));
    }
    (bound, purge)
}

fn group(asked: &Group, spec: &CacheClusterSpec, faults: &mut Vec<String>) -> cluster::Group {
    let name = &asked.name;
    let max_bytes = bytes(&asked.max_bytes, || format!("groups[{name}].maxBytes"), faults);
    let max_value_bytes = bytes(&asked.max_value_bytes, || format!("groups[{name}].maxValueBytes"), faults);
    if max_value_bytes > max_bytes {
        faults.push(format!("groups[{name}].maxValueBytes must not be greater than groups[{name}].maxBytes"));
    }
    let loader = match (&asked.loader_name, spec.loaders.as_slice()) {
        (Some(loader), loaders) if loaders.iter().any(|l| l.name == *loader) => loader.clone(),
        (Some(loader), _) => {
            faults.push(format!("groups[{name}].loaderName is {loader}, which is no entry of loaders"));
            String::new()
        }
        (None, [only]) => only.name.clone(),
        (None, loaders) => {
            let count = loaders.len();
            faults.push(format!("groups[{name}].loaderName must be set: there are {count} loaders, not one"));
            String::new()
        }
    };
    cluster::Group {
        name: name.clone(),
        aliases: asked.aliases.clone(),
        loader,
        max_bytes,
        hot_percent: natural(asked.hot_cache_percent),
        ttl_ms: milliseconds(asked.ttl_seconds),
        negative_ttl_ms: milliseconds(asked.negative_ttl_seconds),
        max_key_bytes: natural(asked.max_key_bytes),
        max_value_bytes: u32::try_from(max_value_bytes).unwrap_or(u32::MAX),
        mode: cluster::GroupMode::Owned.into(),
        on_quorum_loss: match asked.on_quorum_loss {
            OnQuorumLoss::PassThrough => cluster::QuorumLoss::PassThrough.into(),
            OnQuorumLoss::ServeStale => cluster::QuorumLoss::ServeStale.into(),
        },
        stale_while_revalidate_ms: milliseconds(asked.stale_while_revalidate_seconds),
        stale_if_error_ms: milliseconds(asked.stale_if_error_seconds),
        early_refresh_percent: natural(asked.early_refresh_percent),
        source_lag_ms: milliseconds(asked.source_lag_seconds),
        abandoned_loads: match asked.abandoned_loads {
            AbandonedLoads::Finish => cluster::AbandonedLoads::Finish.into(),
            AbandonedLoads::Cancel => cluster::AbandonedLoads::Cancel.into(),
        },
    }
}

fn loader(asked: &Loader, faults: &mut Vec<String>) -> cluster::Loader {
    use cluster::loader::Kind;
    let name = &asked.name;
    let kind = match (&asked.grpc, &asked.http) {
        (Some(grpc), None) => Some(Kind::Grpc(cluster::GrpcLoader {
            target: grpc.target.clone(),
            authority: grpc.authority.clone().unwrap_or_default(),
        })),
        (None, Some(http)) => Some(Kind::Http(cluster::HttpLoader { url: http.url.clone() })),
        _ => {
            faults.push(format!("loaders[{name}]: exactly one of grpc and http must be set"));
            None
        }
    };
    faults.extend(misaddressed(asked).map(|why| format!("loaders[{name}].{why}")));
    cluster::Loader {
        name: name.clone(),
        kind,
        timeout_ms: u64::from(natural(asked.timeout_milliseconds)),
        max_in_flight: natural(asked.concurrency.max_in_flight_per_node),
        max_queued: natural(asked.concurrency.max_queued),
        queue_timeout_ms: u64::from(natural(asked.concurrency.queue_timeout_milliseconds)),
        max_attempts: natural(asked.retry.max_attempts),
        circuit_breaker: Some(cluster::CircuitBreaker {
            failure_percent: natural(asked.circuit_breaker.failure_percent),
            window_seconds: natural(asked.circuit_breaker.window_seconds),
            open_seconds: natural(asked.circuit_breaker.open_seconds),
        }),
    }
}

/// What a node would refuse. It would refuse the membership with it, and be left out of the ring.
fn misaddressed(asked: &Loader) -> Option<String> {
    if let Some(grpc) = &asked.grpc {
        let target = &grpc.target;
        let address = target.strip_prefix("dns:///").unwrap_or(target);
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let sound = address.rsplit_once(':').is_some_and(|(host, port)| {
            let port = port.parse::<u16>().is_ok_and(|port| port > 0);
            port && !host.is_empty() && host.chars().all(allowed)
        });
        if !sound {
            return Some(format!(
                "grpc.target is {target}; it must be host:port or dns:///host:port with a port of 1 to 65535"
            ));
        }
        let strange = grpc.authority.as_ref().filter(|authority| !is_authority(authority));
        return strange.map(|authority| {
            format!(
                "grpc.authority is {authority}; it must be a host, or host:port with a port of 1 to 65535"
            )
        });
    }
    let url = &asked.http.as_ref()?.url;
    let filled = url.replace("{key}", "k").replace("{group}", "g");
    let host = filled.split('/').nth(2).unwrap_or_default();
    let odd = filled.contains(['{', '}', '#']) || !filled.is_ascii() || host.contains('@');
    let in_host = url.split('/').nth(2).is_some_and(|host| host.contains('{'));
    let parsed = filled.parse::<Uri>().is_ok_and(|url| url.host().is_some());
    (odd || in_host || !parsed).then(|| {
        format!("http.url is {url}, which is no URL; write it like http://users/users/{{key}} or http://users/user?id={{key}}")
    })
}

/// A host, with or without a port. A node that cannot put it into a request would fail every load.
fn is_authority(text: &str) -> bool {
    let parsed = format!("http://{text}/").parse::<Uri>();
    parsed.ok().as_ref().and_then(Uri::authority).is_some_and(|read| {
        let port = read.port_u16().is_some_and(|port| port > 0) || read.host().len() == text.len();
        read.as_str() == text && !text.contains('@') && port
    })
}

fn check_names(spec: &CacheClusterSpec, faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    let names = spec.groups.iter().flat_map(|group| std::iter::once(&group.name).chain(&group.aliases));
    for name in names {
        if !seen.insert(name) {
            faults.push(format!("groups: {name} stands twice among the groups' names and aliases"));
        }
    }
}

fn check_memory(spec: &CacheClusterSpec, faults: &mut Vec<String>) {
    if spec.groups.is_empty() {
        return;
    }
    let Some(limit) = spec.resources.as_ref().and_then(|resources| resources.limits.get("memory")) else {
        faults.push("resources.limits.memory must be set where there are groups".to_owned());
        return;
    };
    let Some(limit) = limit.whole() else {
        faults.push(format!(
            "resources.limits.memory is {limit}; it must be an amount of bytes that a machine can have"
        ));
        return;
    };
    let percent = u128::from(natural(spec.memory.cache_percent));
    let share = u128::from(limit) * percent / 100;
    let asked: u128 = spec.groups.iter().filter_map(|g| g.max_bytes.whole()).map(u128::from).sum();
    if asked > share {
        faults.push(format!(
            "groups[].maxBytes are {asked} bytes together; memory.cachePercent ({percent}) of resources.limits.memory is {share}"
        ));
    }
}

fn bytes(asked: &Quantity, field: impl Fn() -> String, faults: &mut Vec<String>) -> u64 {
    match asked.whole() {
        Some(bytes) if bytes > 0 => bytes,
        _ => {
            faults.push(format!("{} is {asked}; it must be a whole number of bytes greater than 0", field()));
            0
        }
    }
}

fn natural(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn milliseconds(seconds: Option<i32>) -> u64 {
    u64::from(natural(seconds.unwrap_or(0))) * 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> CacheClusterSpec {
        serde_yaml::from_str(yaml).expect("a spec")
    }

    const SOUND: &str = "
resources: { limits: { memory: 256Mi } }
loaders: [{ name: people, http: { url: 'http://people/{key}' } }]
groups: [{ name: users, maxBytes: 64Mi, ttlSeconds: 60 }]
";

    #[test]
    fn a_group_gets_the_only_loader_and_milliseconds() {
        let made = configuration(&spec(SOUND)).unwrap();
        assert_eq!(made.groups[0].loader, "people");
        assert_eq!(made.groups[0].ttl_ms, 60_000);
        assert_eq!(made.groups[0].max_bytes, 64 << 20);
        assert_eq!(made.loaders[0].max_in_flight, 64);
    }

    #[test]
    fn freshness_reaches_the_nodes() {
        let asked = "ttlSeconds: 60, staleWhileRevalidateSeconds: 10, staleIfErrorSeconds: 3600, earlyRefreshPercent: 20,
            sourceLagSeconds: 2, abandonedLoads: Cancel";
        let group = &configuration(&spec(&SOUND.replace("ttlSeconds: 60", asked))).unwrap().groups[0];
        assert_eq!((group.stale_while_revalidate_ms, group.stale_if_error_ms), (10_000, 3_600_000));
        assert_eq!((group.early_refresh_percent, group.source_lag_ms), (20, 2_000));
        assert_eq!(group.abandoned_loads(), cluster::AbandonedLoads::Cancel);
        let plain = &configuration(&spec(SOUND)).unwrap().groups[0];
        assert_eq!(plain.abandoned_loads(), cluster::AbandonedLoads::Finish);
        assert_eq!(plain.stale_if_error_ms + u64::from(plain.early_refresh_percent), 0);
    }

    #[test]
    fn a_loader_gets_its_tries_and_its_breaker_and_defaults_for_what_is_left_out() {
        let breaker = |failure_percent, window_seconds, open_seconds| {
            Some(cluster::CircuitBreaker { failure_percent, window_seconds, open_seconds })
        };
        let made = configuration(&spec(SOUND)).unwrap();
        assert_eq!((made.loaders[0].max_attempts, made.loaders[0].circuit_breaker), (1, breaker(50, 10, 5)));
        let asked = SOUND.replace(
            "name: people,",
            "name: people, retry: { maxAttempts: 3 }, circuitBreaker: { openSeconds: 60 },",
        );
        let made = configuration(&spec(&asked)).unwrap();
        assert_eq!((made.loaders[0].max_attempts, made.loaders[0].circuit_breaker), (3, breaker(50, 10, 60)));
    }

    #[test]
    fn whom_a_call_is_for_reaches_the_nodes() {
        let told = |loader: &str| {
            let made = configuration(&spec(&SOUND.replace("http: { url: 'http://people/{key}' }", loader)));
            match made.unwrap().loaders.remove(0).kind {
                Some(cluster::loader::Kind::Grpc(grpc)) => grpc.authority,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            told("grpc: { target: 'proxy:1', authority: 'people.example:443' }"),
            "people.example:443"
        );
        assert_eq!(told("grpc: { target: 'proxy:1' }"), "");
    }

    #[test]
    fn every_fault_is_named_not_just_the_first() {
        let faults = configuration(&spec(
            "
resources: { limits: { memory: 64Mi } }
loaders: [{ name: a, http: { url: 'http://a/{key}' }, grpc: { target: 'a:1' } }, { name: b }]
groups:
- { name: users, maxBytes: 64Mi, loaderName: c, aliases: [names] }
- { name: names, maxBytes: 0 }
",
        ))
        .unwrap_err();
        let expected = [
            "loaders[a]: exactly one",
            "loaders[b]: exactly one",
            "groups[users].loaderName is c",
            "groups[names].maxBytes is 0",
            "groups[names].maxValueBytes must not be greater",
            "groups[names].loaderName must be set: there are 2 loaders",
            "names stands twice",
            "memory.cachePercent (70) of resources.limits.memory is 46976204",
        ];
        for part in expected {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:#?}");
        }
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    }

    #[test]
    fn what_is_asked_of_invalidation_reaches_the_nodes() {
        let made = configuration(&spec(SOUND)).unwrap();
        assert_eq!((made.staleness_bound_ms, made.purge_timeout_ms), (5_000, 1_000));
        assert_eq!(made.groups[0].on_quorum_loss(), cluster::QuorumLoss::PassThrough);
        let asked = |asked: &str| {
            let group = SOUND.replace("ttlSeconds: 60", "onQuorumLoss: ServeStale");
            configuration(&spec(&format!("invalidation: {asked}{group}")))
        };
        let made = asked("{ stalenessBoundSeconds: 2, purgeTimeoutMilliseconds: 2000 }").unwrap();
        assert_eq!((made.staleness_bound_ms, made.purge_timeout_ms), (2_000, 2_000));
        assert_eq!(made.groups[0].on_quorum_loss(), cluster::QuorumLoss::ServeStale);
        for (faulty, said) in [
            (
                "{ stalenessBoundSeconds: 2, purgeTimeoutMilliseconds: 2001 }",
                "invalidation.stalenessBoundSeconds is 2 and",
            ),
            ("{ stalenessBoundSeconds: 0 }", "invalidation: stalenessBoundSeconds and"),
            ("{ purgeTimeoutMilliseconds: -1 }", "invalidation: stalenessBoundSeconds and"),
        ] {
            assert!(asked(faulty).unwrap_err()[0].starts_with(said), "{faulty}");
        }
    }

    #[test]
    fn groups_without_a_memory_limit_are_a_fault_and_no_groups_are_none() {
        let limits =
            |limits: &str| configuration(&spec(&SOUND.replace("{ memory: 256Mi }", limits))).unwrap_err();
        assert_eq!(limits("{}"), ["resources.limits.memory must be set where there are groups"]);
        assert!(limits("{ memory: 1Ei }")[0].starts_with("resources.limits.memory is 1Ei; it must be"));
        assert!(configuration(&spec("replicas: 1")).unwrap().groups.is_empty());
    }

    #[test]
    fn a_loader_that_nodes_would_refuse_never_reaches_them() {
        let faults = |loader: &str| {
            let spec = spec(&SOUND.replace("http: { url: 'http://people/{key}' }", loader));
            configuration(&spec).err().unwrap_or_default().join("; ")
        };
        for sound in [
            "grpc: { target: 'people:9000' }",
            "grpc: { target: 'dns:///people.shop.svc:65535' }",
            "grpc: { target: 'people:1', authority: 'users.example' }",
            "grpc: { target: 'people:1', authority: '[fd00::1]:443' }",
            "http: { url: 'https://people:8443/{group}/{key}?x={key}' }",
            "http: { url: 'http://[fd00::1]:80/{key}' }",
        ] {
            assert_eq!(faults(sound), "", "{sound}");
        }
        for faulty in [
            "grpc: { target: 'people:99999' }",
            "grpc: { target: 'people:0' }",
            "grpc: { target: 'péople:1' }",
            "grpc: { target: 'people:1', authority: '' }",
            "grpc: { target: 'people:1', authority: 'users/x' }",
            "grpc: { target: 'people:1', authority: 'me@users' }",
            "grpc: { target: 'people:1', authority: 'users:' }",
            "grpc: { target: 'people:1', authority: 'users:0' }",
            "grpc: { target: 'people:1', authority: 'users:65536' }",
            "http: { url: 'http://[::1/{key}' }",
            "http: { url: 'http://people/{key}#{key}' }",
            "http: { url: 'http://me@people/{key}' }",
            "http: { url: 'http://{key}/{key}' }",
            "http: { url: 'http://people/{key}/{other}' }",
        ] {
            assert!(faults(faulty).starts_with("loaders[people]."), "{faulty}: {}", faults(faulty));
        }
    }
}
