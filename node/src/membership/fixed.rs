//! A fixed membership, for running without Kubernetes: a list of members and a file with groups and loaders.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use groupcache_proto::cluster::{self, SignedSnapshot, loader::Kind};
use groupcache_proto::convert;
use groupcache_ring::snapshot::MAX_GRANTORS;
use groupcache_ring::{Member, Snapshot, Version};
use serde::Deserialize;

use crate::memory::parse_bytes;

/// The version of a fixed membership: the first there can be.
pub const VERSION: Version = Version::new(1, 1);

/// The cluster uid of a fixed membership.
pub const CLUSTER_UID: &str = "fixed";

/// The snapshot of a list such as `a=10.0.0.1:8081,b=10.0.0.2:8081`, in which this node is, and the groups and loaders of a file.
///
/// # Errors
/// With every fault, if the list or the file is not sound. Nobody could take a node in later that the list does not name.
pub fn snapshot(me: &str, members: &str, file: Option<&Path>) -> anyhow::Result<SignedSnapshot> {
    let mut list = Vec::new();
    for member in members.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        let Some((name, address)) = member.split_once('=') else {
            bail!("the member {member:?} is not name=host:port");
        };
        list.push(Member::active(name, address));
    }
    if !list.iter().any(|member| member.name == me) {
        let names: Vec<_> = list.iter().map(|member| member.name.as_str()).collect();
        bail!("this node, {me:?}, is not among the members ({}): name it in the list, too", names.join(", "));
    }
    let configuration = match file {
        Some(path) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            parse(&text).with_context(|| format!("reading {}", path.display()))?
        }
        None => cluster::Configuration::default(),
    };
    let made = Snapshot::new(CLUSTER_UID, VERSION, VERSION, grantors(&list), list);
    let snapshot = made.map_err(|faults| {
        let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the list of members is faulty: {}", said.join("; "))
    })?;
    Ok(convert::unsigned(&convert::snapshot_to_wire(&snapshot, configuration)))
}

/// Rules need tokens and tokens need rules: one without the other would leave a port open that is meant to be closed, or answer nobody for ever.
///
/// # Errors
/// If there is the one without the other.
pub fn check_access(snapshot: &SignedSnapshot, has_tokens: bool) -> anyhow::Result<()> {
    let has_rules = convert::open(snapshot)?.configuration.is_some_and(|wire| wire.access.is_some());
    match (has_rules, has_tokens) {
        (true, false) => bail!("--config has access rules: --token-dir must say where the tokens are"),
        (false, true) => {
            bail!("--token-dir is given: --config must say what each token allows, as \"access\"")
        }
        _ => Ok(()),
    }
}

/// An odd number of members, as many as may be: an even one needs one grant more and stands no more losses.
fn grantors(members: &[Member]) -> Vec<String> {
    let mut names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    names.sort();
    names.truncate(MAX_GRANTORS);
    if names.len().is_multiple_of(2) {
        names.pop();
    }
    names
}

/// Groups and loaders of a file's text.
///
/// # Errors
/// If it is not JSON of that form. What it says is checked when the snapshot is adopted.
pub fn parse(text: &str) -> anyhow::Result<cluster::Configuration> {
    let file: File = serde_json::from_str(text)?;
    Ok(cluster::Configuration {
        groups: file.groups.into_iter().map(Group::into_wire).collect::<anyhow::Result<_>>()?,
        loaders: file.loaders.into_iter().map(Loader::into_wire).collect::<anyhow::Result<_>>()?,
        staleness_bound_ms: millis(file.staleness_bound.as_deref())?,
        purge_timeout_ms: millis(file.purge_timeout.as_deref())?,
        access: file.access.map(Access::into_wire),
    })
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
    loaders: Vec<Loader>,
    purge_timeout: Option<String>,
    staleness_bound: Option<String>,
    access: Option<Access>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Access {
    tokens: Vec<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Token {
    name: String,
    /// Left out: all. An empty list is a mistake that must not open them.
    groups: Option<Vec<String>>,
    verbs: Vec<Verb>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Verb {
    Get,
    Set,
    Remove,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Group {
    name: String,
    #[serde(default)]
    aliases: Vec<String>,
    loader: String,
    max_bytes: String,
    #[serde(default = "default_hot_percent")]
    hot_percent: u32,
    ttl: Option<String>,
    negative_ttl: Option<String>,
    stale_while_revalidate: Option<String>,
    stale_if_error: Option<String>,
    #[serde(default)]
    early_refresh_percent: u32,
    source_lag: Option<String>,
    abandoned_loads: Option<AbandonedLoads>,
    max_key_bytes: Option<String>,
    max_value_bytes: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum AbandonedLoads {
    Finish,
    Cancel,
}

impl AbandonedLoads {
    fn on_the_wire(self) -> i32 {
        match self {
            AbandonedLoads::Finish => cluster::AbandonedLoads::Finish.into(),
            AbandonedLoads::Cancel => cluster::AbandonedLoads::Cancel.into(),
        }
    }
}

/// As the Kubernetes object has it: at most 1/9 of the memory.
fn default_hot_percent() -> u32 {
    11
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Loader {
    name: String,
    grpc: Option<Grpc>,
    http: Option<Http>,
    timeout: Option<String>,
    queue_timeout: Option<String>,
    #[serde(default)]
    max_in_flight: u32,
    #[serde(default)]
    max_queued: u32,
    #[serde(default)]
    max_attempts: u32,
    circuit_breaker: Option<CircuitBreaker>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CircuitBreaker {
    #[serde(default)]
    failure_percent: u32,
    #[serde(default)]
    window_seconds: u32,
    #[serde(default)]
    open_seconds: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Grpc {
    target: String,
    #[serde(default)]
    authority: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Http {
    url: String,
}

impl Access {
    fn into_wire(self) -> cluster::Access {
        let tokens = self.tokens.into_iter().map(Token::into_wire);
        cluster::Access { open: false, tokens: tokens.collect() }
    }
}

impl Token {
    fn into_wire(self) -> cluster::TokenRule {
        let verb = |verb: &Verb| match verb {
            Verb::Get => cluster::Verb::Get.into(),
            Verb::Set => cluster::Verb::Set.into(),
            Verb::Remove => cluster::Verb::Remove.into(),
        };
        // No group has an empty name, so that a rule for no group is refused.
        let none = |groups: Vec<String>| if groups.is_empty() { vec![String::new()] } else { groups };
        let groups = self.groups.map(none).unwrap_or_default();
        cluster::TokenRule { name: self.name, groups, verbs: self.verbs.iter().map(verb).collect() }
    }
}

impl Group {
    fn into_wire(self) -> anyhow::Result<cluster::Group> {
        Ok(cluster::Group {
            max_bytes: parse_bytes(&self.max_bytes)?,
            hot_percent: self.hot_percent,
            ttl_ms: millis(self.ttl.as_deref())?,
            negative_ttl_ms: millis(self.negative_ttl.as_deref())?,
            stale_while_revalidate_ms: millis(self.stale_while_revalidate.as_deref())?,
            stale_if_error_ms: millis(self.stale_if_error.as_deref())?,
            early_refresh_percent: self.early_refresh_percent,
            source_lag_ms: millis(self.source_lag.as_deref())?,
            abandoned_loads: self.abandoned_loads.map_or(0, AbandonedLoads::on_the_wire),
            max_key_bytes: small_bytes(self.max_key_bytes.as_deref())?,
            max_value_bytes: small_bytes(self.max_value_bytes.as_deref())?,
            name: self.name,
            aliases: self.aliases,
            loader: self.loader,
            ..Default::default()
        })
    }
}

impl Loader {
    fn into_wire(self) -> anyhow::Result<cluster::Loader> {
        let kind = match (self.grpc, self.http) {
            (Some(grpc), None) => {
                Kind::Grpc(cluster::GrpcLoader { target: grpc.target, authority: grpc.authority })
            }
            (None, Some(http)) => Kind::Http(cluster::HttpLoader { url: http.url }),
            _ => bail!("the loader {:?} must have exactly one of grpc and http", self.name),
        };
        Ok(cluster::Loader {
            name: self.name,
            kind: Some(kind),
            timeout_ms: millis(self.timeout.as_deref())?,
            queue_timeout_ms: millis(self.queue_timeout.as_deref())?,
            max_in_flight: self.max_in_flight,
            max_queued: self.max_queued,
            max_attempts: self.max_attempts,
            circuit_breaker: self.circuit_breaker.map(|breaker| cluster::CircuitBreaker {
                failure_percent: breaker.failure_percent,
                window_seconds: breaker.window_seconds,
                open_seconds: breaker.open_seconds,
            }),
        })
    }
}

fn millis(text: Option<&str>) -> anyhow::Result<u64> {
    let Some(text) = text else { return Ok(0) };
    let time: Duration = humantime::parse_duration(text)
        .with_context(|| format!("{text:?} is no duration; give something like 500ms, 30s or 5m"))?;
    Ok(u64::try_from(time.as_millis())?)
}

fn small_bytes(text: Option<&str>) -> anyhow::Result<u32> {
    Ok(text.map(parse_bytes).transpose()?.map(u32::try_from).transpose()?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_groups_and_loaders_with_units() {
        let wire = parse(
            r#"{"groups": [{"name": "users", "loader": "users", "maxBytes": "64Mi", "ttl": "5m"}],
                "loaders": [{"name": "users", "http": {"url": "http://users/{key}"}, "timeout": "750ms"}]}"#,
        )
        .unwrap();
        assert_eq!((wire.groups[0].max_bytes, wire.groups[0].ttl_ms), (64 << 20, 300_000));
        assert_eq!(wire.loaders[0].timeout_ms, 750);
    }

    #[test]
    fn a_file_says_how_fresh_values_are() {
        let wire = parse(
            r#"{"groups": [{"name": "users", "loader": "users", "maxBytes": "64Mi", "ttl": "5m", "staleWhileRevalidate": "1m",
                "staleIfError": "1h", "earlyRefreshPercent": 10, "sourceLag": "2s", "abandonedLoads": "Cancel"}], "loaders": []}"#,
        )
        .unwrap();
        let group = &wire.groups[0];
        assert_eq!((group.stale_while_revalidate_ms, group.stale_if_error_ms), (60_000, 3_600_000));
        assert_eq!((group.early_refresh_percent, group.source_lag_ms), (10, 2_000));
        assert_eq!(group.abandoned_loads(), cluster::AbandonedLoads::Cancel);
    }

    #[test]
    fn mistakes_are_told() {
        let error = parse(r#"{"groups": [], "loaders": [], "typo": 1}"#).unwrap_err();
        assert!(error.to_string().contains("typo"), "{error}");
        let error = snapshot("a", "a=h:1,b", None).unwrap_err();
        assert!(error.to_string().contains("\"b\" is not name=host:port"), "{error}");
        let error = snapshot("a", "a=h:1,a=h:2", None).unwrap_err();
        assert!(error.to_string().contains("a stands twice"), "{error}");
    }

    #[test]
    fn a_node_that_is_not_among_its_members_is_refused() {
        let error = snapshot("a", "b=h:1,c=h:2", None).unwrap_err();
        assert!(error.to_string().contains("\"a\", is not among the members (b, c)"), "{error}");
        snapshot("a", "b=h:1,a=h:2", None).unwrap();
    }
}
