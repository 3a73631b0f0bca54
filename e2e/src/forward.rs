//! A port of a pod, reachable from here through `kubectl port-forward`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kubectl::Kubectl;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

/// kubectl asks the API server and the kubelet first.
const LIMIT: Duration = Duration::from_secs(20);

/// Ends when dropped.
#[derive(Debug)]
pub struct Forward {
    /// Where the pod's port is reachable.
    pub address: SocketAddr,
    _process: Spawned,
}

impl Forward {
    /// Opens a way to a port of a pod.
    ///
    /// # Errors
    /// When the pod is not there or not running.
    pub fn open(kubectl: &Kubectl, pod: &str, port: u16) -> Result<Self> {
        let name = format!("{}-forward-{pod}-{port}-{}", kubectl.namespace(), unique());
        let mut process = Spawned::start(
            &name,
            &mut kubectl.command(&["port-forward", &format!("pod/{pod}"), &format!(":{port}")]),
        )?;
        let address = wait::until(&format!("a way to port {port} of {pod}"), LIMIT, || {
            let said = process.said();
            let running = process.is_running()?;
            Ok(match said.lines().find_map(local_address) {
                Some(address) => Seen::Reached(address),
                None => {
                    Seen::NotYet(format!("kubectl {}: {said}", if running { "runs" } else { "has ended" }))
                }
            })
        })?;
        Ok(Self { address: address.parse().context("kubectl names an address")?, _process: process })
    }
}

/// From `Forwarding from 127.0.0.1:40001 -> 8080`.
fn local_address(line: &str) -> Option<String> {
    let address = line.strip_prefix("Forwarding from ")?.split_whitespace().next()?;
    address.starts_with("127.").then(|| address.to_owned())
}

fn unique() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map(|since| since.as_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_what_kubectl_says() {
        assert_eq!(
            local_address("Forwarding from 127.0.0.1:40001 -> 8080").as_deref(),
            Some("127.0.0.1:40001")
        );
        assert_eq!(local_address("Forwarding from [::1]:40001 -> 8080"), None);
    }
}
