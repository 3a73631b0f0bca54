//! Flags and environment, made into a [`Config`]; the only reader of the environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use groupcache_process::telemetry::TelemetryArgs;

use crate::config::{self, Config};
use crate::membership::fixed;
use crate::memory::{self, Memory};
use crate::transport::peers::Patience;

/// A node of a groupcache: a read-through cache that applications ask over gRPC or HTTP.
///
/// In Kubernetes the operator starts it, tells it its membership and configuration on the cluster port, and no flag needs to be set by hand.
/// Anywhere else, name the members and a file with groups and loaders:
///
///   groupcache-node --name a --members a=10.0.0.1:8081,b=10.0.0.2:8081 --config groups.json
///
/// groups.json:
///
///   {"groups":  [{"name": "users", "loader": "users", "maxBytes": "64Mi", "ttl": "5m"}],
///    "loaders": [{"name": "users", "http": {"url": "http://localhost:9000/users/{key}"}, "timeout": "1s"}]}
///
/// With --token-dir also who may do what; a rule's name is a file of the folder, and without groups it is for all of them:
///
///    "access": {"tokens": [{"name": "shop", "groups": ["users"], "verbs": ["Get", "Remove"]}]}
///
/// Then: curl http://localhost:8080/v1/groups/users/keys/1
///
/// SIGTERM or SIGINT drains and exits with 0; a second one stops at once and exits with 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "groupcache-node", version, verbatim_doc_comment, max_term_width = 110)]
pub struct Args {
    /// This member's name, its identity in the ring: 1 to 253 of [a-z0-9.-]. In Kubernetes the pod's name.
    #[arg(
        long,
        env = "POD_NAME",
        required_unless_present = "list_metrics",
        default_value_if("list_metrics", "true", "")
    )]
    pub name: Option<String>,

    /// The pod's uid: a push that means another pod of the same name is refused.
    #[arg(long, value_name = "UID", env = "POD_UID", default_value = "")]
    pub pod_uid: String,

    /// Where applications call, with gRPC and HTTP/1.1 on one port.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8080", help_heading = "Ports")]
    pub data_address: SocketAddr,

    /// Where other nodes and the operator call. Without --tls-dir it is open to everybody: keep applications away from it.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:8081", help_heading = "Ports")]
    pub cluster_address: SocketAddr,

    /// Where probes and scrapers call: /healthz, /readyz, /metrics, /debug/log.
    #[arg(long, value_name = "IP:PORT", default_value = "0.0.0.0:9090", help_heading = "Ports")]
    pub admin_address: SocketAddr,

    /// Host, or host:port, under which other nodes reach the cluster port; without it the address as bound.
    #[arg(long, value_name = "HOST[:PORT]", env = "POD_IP", help_heading = "Ports")]
    pub advertise: Option<String>,

    /// Folder with tls.crt, tls.key and ca.crt: the cluster port then speaks TLS only, and its callers show a certificate of this cluster. Read again when they change.
    #[arg(long, value_name = "FOLDER", help_heading = "Ports")]
    pub tls_dir: Option<PathBuf>,

    /// Folder with tls.crt and tls.key: the data port then speaks TLS only, and asks for no certificate. Read again when they change.
    #[arg(long, value_name = "FOLDER", help_heading = "Ports")]
    pub data_tls_dir: Option<PathBuf>,

    /// Folder with one token a file: the data port then answers only who sends one of them as Authorization: Bearer TOKEN, and what the configuration allows
    /// the file's name ("access" in --config; health and reflection ask for none). Until the rules are known it answers nobody. Read again when they change.
    #[arg(long, value_name = "FOLDER", help_heading = "Ports")]
    pub token_dir: Option<PathBuf>,

    /// Folder where the newest snapshot is kept, so that a restarted node serves before anybody tells it anything. Made when missing.
    #[arg(long, value_name = "FOLDER", help_heading = "Membership")]
    pub snapshot_dir: Option<PathBuf>,

    /// The ledger's snapshot, mounted as a file: a new node starts with it while the operator is away.
    #[arg(long, value_name = "FILE", help_heading = "Membership")]
    pub ledger: Option<PathBuf>,

    /// A fixed list of members, this one included; nobody pushes then.
    #[arg(
        long,
        value_name = "NAME=HOST:PORT,...",
        conflicts_with_all = ["snapshot_dir", "ledger"],
        help_heading = "Membership"
    )]
    pub members: Option<String>,

    /// A JSON file with the groups and loaders of a fixed membership.
    #[arg(long, value_name = "FILE", requires = "members", help_heading = "Membership")]
    pub config: Option<PathBuf>,

    /// Memory the process may use, for example 512Mi; without it the container's limit, else the machine's memory.
    #[arg(long, value_name = "BYTES", value_parser = memory::parse_bytes, help_heading = "Limits")]
    pub memory_limit: Option<u64>,

    /// Percent of that memory which the groups' budgets may add up to; an eighth is for what is in flight.
    #[arg(long, value_name = "PERCENT", default_value_t = memory::DEFAULT_GROUPS_PERCENT,
          value_parser = clap::value_parser!(u32).range(1..=85), help_heading = "Limits")]
    pub memory_share: u32,

    /// Connections of applications at a time; one more is closed at once.
    #[arg(long, value_name = "COUNT", default_value_t = config::DEFAULT_MAX_CONNECTIONS, help_heading = "Limits")]
    pub max_connections: usize,

    /// How old a connection of an application may get, give or take a tenth, so that clients meet new nodes.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration, help_heading = "Limits")]
    pub max_connection_age: Duration,

    /// How long the node goes on serving after SIGTERM, already not ready: until clients have looked its name up again.
    #[arg(long, value_name = "TIME", default_value = "35s", value_parser = humantime::parse_duration, help_heading = "Limits")]
    pub drain_delay: Duration,

    /// Prints every metric with kind, unit and help, and exits.
    #[arg(long)]
    pub list_metrics: bool,

    /// What is logged.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

impl Args {
    /// What the node is started with.
    ///
    /// # Errors
    /// If a fixed membership cannot be read.
    pub fn into_config(self) -> anyhow::Result<Config> {
        let name = self.name.unwrap_or_default();
        let fixed = match &self.members {
            Some(members) => Some(
                fixed::snapshot(&name, members, self.config.as_deref())
                    .context("making the fixed membership")?,
            ),
            None => None,
        };
        if let Some(fixed) = &fixed {
            fixed::check_access(fixed, self.token_dir.is_some())?;
        }
        Ok(Config {
            name,
            pod_uid: self.pod_uid,
            data_address: self.data_address,
            cluster_address: self.cluster_address,
            admin_address: self.admin_address,
            advertise: self
                .advertise
                .filter(|host| !host.is_empty())
                .map(|host| with_port(&host, self.cluster_address.port())),
            snapshot_dir: self.snapshot_dir,
            ledger: self.ledger,
            fixed,
            memory: Memory::detect(self.memory_limit, self.memory_share),
            drain_delay: self.drain_delay,
            drain_spread: config::DEFAULT_SPREAD,
            max_connection_age: self.max_connection_age,
            max_connections: self.max_connections,
            tls_dir: self.tls_dir,
            data_tls_dir: self.data_tls_dir,
            token_dir: self.token_dir,
            patience: Patience::default(),
        })
    }
}

/// Host and port, of a host that may have a port already, or be an IPv6 address.
fn with_port(host: &str, port: u16) -> String {
    if let Ok(ip) = host.parse::<std::net::IpAddr>() {
        return SocketAddr::new(ip, port).to_string();
    }
    if host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok()) {
        return host.to_owned();
    }
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn an_advertised_host_gets_the_cluster_port() {
        assert_eq!(with_port("10.0.0.1", 8081), "10.0.0.1:8081");
        assert_eq!(with_port("fd00::1", 8081), "[fd00::1]:8081");
        assert_eq!(with_port("cache-0.members", 8081), "cache-0.members:8081");
        assert_eq!(with_port("cache-0:9", 8081), "cache-0:9");
    }

    #[test]
    fn units_are_understood_and_mistakes_told() {
        let args = Args::try_parse_from([
            "groupcache-node",
            "--name=a",
            "--memory-limit=256Mi",
            "--drain-delay=1m 5s",
        ])
        .unwrap();
        assert_eq!((args.memory_limit, args.drain_delay.as_secs()), (Some(256 << 20), 65));
        let error = Args::try_parse_from(["groupcache-node", "--name=a", "--memory-limit=lots"]).unwrap_err();
        assert!(error.to_string().contains("no number of bytes"), "{error}");
    }
}
