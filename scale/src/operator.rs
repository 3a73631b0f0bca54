//! The operator's own program under measurement: started with the rights of its account, and what it costs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::{Api, Client};
use serde_yaml::Value;

/// Where the chart has put its account and its roles.
const NAMESPACE: &str = "groupcache-system";
/// The chart's release, and its account.
const RELEASE: &str = "groupcache-operator";
/// Longer than anything here takes.
const TOKEN_SECONDS: i64 = 12 * 3600;

/// As the audit log names the account.
pub(crate) fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{RELEASE}")
}

/// A running operator; ended when dropped.
pub(crate) struct Operator {
    child: Child,
}

/// What the kernel says of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) resident_bytes: u64,
    /// The most it ever was.
    pub(crate) peak_bytes: u64,
    pub(crate) cpu: Duration,
}

impl Operator {
    /// Starts it; its token is kept in `folder`, its log goes into `logs`.
    ///
    /// # Errors
    /// When its account is not there, or it cannot be started.
    pub(crate) async fn start(
        program: &Path,
        client: &Client,
        kubeconfig: &Path,
        folder: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let own = own_kubeconfig(client, kubeconfig, folder).await?;
        let log = File::create(logs.join("operator.log"))?;
        let child = Command::new(program)
            .args(["--node-image=groupcache-node:scale", "--admin-address=127.0.0.1:9191"])
            .args(["--lease-name", RELEASE, "--lease-namespace", NAMESPACE, "--identity=scale"])
            .env("KUBECONFIG", own)
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("could not start {}", program.display()))?;
        Ok(Self { child })
    }

    /// What it has cost until now.
    ///
    /// # Errors
    /// When it does not run any more.
    pub(crate) fn cost(&self) -> Result<Cost> {
        cost_of(self.child.id()).context("the operator has ended; its log is operator.log")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a process has cost.
///
/// # Errors
/// When there is none of that id.
pub(crate) fn cost_of(pid: u32) -> Result<Cost> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = ticks(&stat).context("an odd /proc/PID/stat")?;
    let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
    let bytes = |field: &str| kibibytes(&status, field).map(|kibi| kibi * 1024);
    Ok(Cost {
        resident_bytes: bytes("VmRSS").context("a process that has ended")?,
        peak_bytes: bytes("VmHWM").context("a process that has ended")?,
        cpu,
    })
}

fn kibibytes(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Time in the process and in the kernel for it. The program's name may hold blanks: what counts stands behind it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = behind.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(number(11)? + number(12)?)
}

/// The kubeconfig with a token of the operator's account in place of the user's.
async fn own_kubeconfig(client: &Client, kubeconfig: &Path, folder: &Path) -> Result<PathBuf> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let granted = accounts.create_token_request(RELEASE, &PostParams::default(), &request).await;
    let token = granted.context("the operator's account")?.status.context("no token was granted")?.token;
    let mut config: Value = serde_yaml::from_str(&fs::read_to_string(kubeconfig)?)?;
    config["users"][0]["user"]["token"] = Value::String(token);
    let own = folder.join("kubeconfig");
    fs::write(&own, serde_yaml::to_string(&config)?)?;
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_kernel_are_read() {
        let stat = "7 (a (b) c) S 1 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 9 0 1 1 1";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(kibibytes("VmHWM:\t  2048 kB\nVmRSS:\t 1024 kB\n", "VmRSS"), Some(1024));
    }

    #[test]
    fn this_process_costs_something() {
        let cost = cost_of(std::process::id()).unwrap();
        assert!(cost.resident_bytes > 0 && cost.peak_bytes >= cost.resident_bytes);
    }
}
