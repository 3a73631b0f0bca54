//! The operator's flags; the only reader of the environment.

use std::net::SocketAddr;

use clap::Parser;
use groupcache_process::telemetry::TelemetryArgs;

/// Runs CacheClusters: makes their pods and Services, decides who is in the ring, and tells every node.
///
/// The API server is found as kubectl finds it ($KUBECONFIG, ~/.kube/config), or by the pod's service account.
#[derive(Clone, Debug, Parser)]
#[command(name = "groupcache-operator", version)]
pub struct Args {
    /// Look after CacheClusters in this namespace only. Left out: in all.
    #[arg(long, value_name = "NAME", env = "GROUPCACHE_NAMESPACE")]
    pub namespace: Option<String>,

    /// The image of cache nodes whose CacheCluster names none.
    #[arg(
        long,
        value_name = "IMAGE",
        env = "GROUPCACHE_NODE_IMAGE",
        required_unless_present = "check",
        default_value_if("check", "true", "")
    )]
    pub node_image: Option<String>,

    /// Where the admin port listens: /healthz, /readyz, /metrics.
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:9090", env = "GROUPCACHE_ADMIN_ADDRESS")]
    pub admin_address: SocketAddr,

    /// The operator's own namespace: that of the Lease that says which operator leads, and the one whose pods may speak to nodes' cluster ports.
    #[arg(long, value_name = "NAME", default_value = "default", env = "POD_NAMESPACE")]
    pub lease_namespace: String,

    /// The name of that Lease. Operators that look after different namespaces need different ones.
    #[arg(long, value_name = "NAME", default_value = "groupcache-operator")]
    pub lease_name: String,

    /// What this process calls itself in the Lease and in events. Left out: its host's name, which is its pod's.
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,

    /// How many clusters are reconciled at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,

    /// Looks whether an operator with this Lease works, says what it finds, and exits: with 0 if all is well.
    #[arg(long)]
    pub check: bool,

    /// Logs.
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_flags_are_sound_and_only_a_check_needs_no_image() {
        Args::command().debug_assert();
        let parsed = |flags: &[&str]| Args::try_parse_from([&["groupcache-operator"], flags].concat());
        assert!(parsed(&["--check"]).is_ok_and(|args| args.check));
        assert!(parsed(&["--node-image=node:1"]).is_ok_and(|args| !args.check));
        assert!(parsed(&[]).is_err());
    }
}
