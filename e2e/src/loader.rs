//! The loader of the scenarios: the names of Unicode characters from an SQL table, with a count of every load.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::http;
use crate::kubectl::Kubectl;
use crate::page;
use crate::settings;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

/// Its name as a Deployment, a Service and a host.
const NAME: &str = "unicode-loader";
const GRPC_PORT: u16 = 9000;
const ADMIN_PORT: u16 = 9090;
/// The image that the quickstart's manifest names.
const PLACEHOLDER: &str = "groupcache.dev/unicode-loader:latest";
/// It fills its table when it starts.
const START: Duration = Duration::from_secs(60);

/// The loader as a Deployment in a scenario's namespace.
#[derive(Debug)]
pub struct PodLoader<'a> {
    kubectl: &'a Kubectl,
}

impl<'a> PodLoader<'a> {
    /// Deploys it and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn deploy(kubectl: &'a Kubectl) -> Result<Self> {
        let manifest = page::file("examples/quickstart/loader.yaml")?;
        ensure!(
            manifest.contains(PLACEHOLDER),
            "examples/quickstart/loader.yaml names another image than {PLACEHOLDER}"
        );
        kubectl.apply(&manifest.replace(PLACEHOLDER, &settings::text("LOADER_IMAGE")?))?;
        kubectl.run(&["rollout", "status", &format!("deployment/{NAME}"), "--timeout=120s"])?;
        Ok(Self { kubectl })
    }

    /// Where nodes find it.
    #[must_use]
    pub fn target(&self) -> String {
        format!("dns:///{NAME}.{}:{GRPC_PORT}", self.kubectl.namespace())
    }

    /// How many loads of a key it has seen.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn loads_of(&self, key: &str) -> Result<u64> {
        loads(&self.kubectl.raw(&format!("{}/loads?key={key}", self.proxy()))?)
    }

    /// How many loads it has seen in all.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn loads(&self) -> Result<u64> {
        loads(&self.kubectl.raw(&format!("{}/loads", self.proxy()))?)
    }

    fn proxy(&self) -> String {
        format!("/api/v1/namespaces/{}/services/{NAME}:{ADMIN_PORT}/proxy", self.kubectl.namespace())
    }
}

/// The loader as a process on loopback.
#[derive(Debug)]
pub struct ProcessLoader {
    /// Its gRPC address.
    pub address: SocketAddr,
    admin: SocketAddr,
    _process: Spawned,
}

impl ProcessLoader {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(scenario: &str) -> Result<Self> {
        let mut command = Command::new(settings::path("UNICODE_LOADER")?);
        command.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let process = Spawned::start(&format!("{scenario}-loader"), &mut command)?;
        let (address, admin) = wait::until("the loader's addresses", START, || {
            let said = process.said();
            Ok(match (field(&said, "listen"), field(&said, "admin")) {
                (Some(listen), Some(admin)) => Seen::Reached((listen, admin)),
                _ => Seen::NotYet(said),
            })
        })?;
        Ok(Self { address, admin, _process: process })
    }

    /// How many loads of a key it has seen.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn loads_of(&self, key: &str) -> Result<u64> {
        loads(&http::send("GET", self.admin, &format!("/loads?key={key}"))?.body)
    }

    /// How many loads it has seen in all.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn loads(&self) -> Result<u64> {
        loads(&http::send("GET", self.admin, "/loads")?.body)
    }

    /// Makes every load slow, or fail.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn set_faults(&self, faults: &Value) -> Result<()> {
        http::send_body("PUT", self.admin, "/faults", &faults.to_string()).map(drop)
    }
}

/// Reads `listen=127.0.0.1:9000` from a line of a log, colours left out.
fn field(log: &str, name: &str) -> Option<SocketAddr> {
    let mut plain = String::new();
    let mut coloured = false;
    for letter in log.chars() {
        match letter {
            '\u{1b}' => coloured = true,
            'm' if coloured => coloured = false,
            letter if !coloured => plain.push(letter),
            _ => {}
        }
    }
    let after = plain.split(&format!("{name}=")).nth(1)?;
    after.split_whitespace().next()?.trim_matches('"').parse().ok()
}

fn loads(json: &str) -> Result<u64> {
    let answer: Value =
        serde_json::from_str(json).with_context(|| format!("the loader answered {json:?}"))?;
    answer["loads"].as_u64().with_context(|| format!("the loader answered {json:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_from_a_log_with_and_without_colours() {
        let log = "INFO serving rows=4 \u{1b}[3mlisten\u{1b}[0m\u{1b}[2m=\u{1b}[0m127.0.0.1:9000 admin=127.0.0.1:9001\n";

        assert_eq!(field(log, "listen"), Some("127.0.0.1:9000".parse().unwrap()));
        assert_eq!(field(log, "admin"), Some("127.0.0.1:9001".parse().unwrap()));
    }
}
