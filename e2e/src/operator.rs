//! The operator of the scenarios, and how to take it away for a while.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cachecluster::condition_holds;
use crate::kubectl::Kubectl;
use crate::settings;
use crate::spawned::Spawned;
use crate::wait::{self, Seen};

const SELECTOR: &str = "app.kubernetes.io/name=groupcache-operator";
const LIMIT: Duration = Duration::from_secs(120);

/// The operator, away. It comes back when this is dropped, also when the scenario fails: others need it.
#[derive(Debug)]
pub struct Operator {
    kubectl: Kubectl,
    deployment: String,
    /// How many there were, and will be again.
    replicas: u64,
}

impl Operator {
    /// Takes the operator away; it stays away, whatever its Deployment would like.
    ///
    /// # Errors
    /// When its pods do not go.
    pub fn away() -> Result<Self> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let name = settings::text("OPERATOR_DEPLOYMENT")?;
        let replicas = kubectl.get("deployment", &name)?["spec"]["replicas"].as_u64().unwrap_or(1);
        let operator = Self { deployment: format!("deployment/{name}"), kubectl, replicas };
        operator.scale(0)?;
        wait::until("the end of the operator's pods", LIMIT, || {
            let pods = operator.kubectl.list("pods", SELECTOR)?;
            Ok(if pods.is_empty() { Seen::Reached(()) } else { Seen::NotYet(format!("{} pods", pods.len())) })
        })?;
        Ok(operator)
    }

    /// How many there were, and will be again.
    #[must_use]
    pub fn replicas(&self) -> u64 {
        self.replicas
    }

    /// Kills the operator's pod without a word; its Deployment makes another.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill() -> Result<()> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let said = kubectl.run(&["delete", "pod", "--force", "--grace-period=0", "--selector", SELECTOR])?;
        ensure!(said.contains("deleted"), "there was no operator to kill: {said:?}");
        Ok(())
    }

    /// Has the operator run on another machine than this one.
    ///
    /// # Errors
    /// When no other takes it.
    pub fn move_off(machine: &str) -> Result<()> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let pods = || kubectl.list("pods", SELECTOR);
        if pods()?.iter().all(|pod| pod["spec"]["nodeName"] != machine) {
            return Ok(());
        }
        kubectl.run(&["cordon", machine])?;
        let moved = kubectl.run(&["delete", "pod", "--selector", SELECTOR]).and_then(|_| {
            wait::until(&format!("an operator off {machine}"), LIMIT, || {
                let pods = pods()?;
                let there = pods.iter().any(|pod| pod["spec"]["nodeName"] == machine);
                let ready = pods.iter().any(|pod| condition_holds(pod, "Ready"));
                Ok(if ready && !there { Seen::Reached(()) } else { Seen::NotYet(format!("{pods:?}")) })
            })
        });
        kubectl.run(&["uncordon", machine])?;
        moved
    }

    /// The pod that leads, by the Lease, once as many operators as there are meant to be are ready.
    ///
    /// # Errors
    /// When nobody leads, or a replica is missing.
    pub fn leader() -> Result<String> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let name = settings::text("OPERATOR_DEPLOYMENT")?;
        let whole = |deployment: &Value| {
            let (wanted, status) = (&deployment["spec"]["replicas"], &deployment["status"]);
            status["readyReplicas"] == *wanted && status["replicas"] == *wanted
        };
        kubectl
            .wait(("deployment", &name), "all replicas ready", LIMIT, whole, |it| it["status"].to_string())?;
        wait::until("a leader that is there", LIMIT, || {
            let holder = holder(&kubectl)?;
            let there = kubectl.said(&["get", "pod", &holder])?.success;
            Ok(if there { Seen::Reached(holder) } else { Seen::NotYet(format!("{holder:?} leads")) })
        })
    }

    /// Waits until another pod than this one leads; answers which.
    ///
    /// # Errors
    /// When none does.
    pub fn wait_successor(of: &str) -> Result<String> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        wait::until(&format!("another leader than {of}"), LIMIT, || {
            let holder = holder(&kubectl)?;
            let is_new = !holder.is_empty() && holder != of;
            Ok(if is_new { Seen::Reached(holder) } else { Seen::NotYet(format!("{holder:?} leads")) })
        })
    }

    /// Follows what the process of an operator's pod says until it ends: kubelets do not always keep the words of one that has ended.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn listen(pod: &str) -> Result<Spawned> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        Spawned::start(&format!("{pod}-words"), &mut kubectl.command(&["logs", "--follow", "--tail=20", pod]))
    }

    /// Waits until the process of an operator's pod has ended and was started again.
    ///
    /// # Errors
    /// When it does not end.
    pub fn wait_restarted(pod: &str, restarts: u64) -> Result<()> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let ended = |it: &Value| restarts_of(it) > restarts && condition_holds(it, "Ready");
        kubectl.wait(("pod", pod), "started again", LIMIT, ended, |it| it["status"].to_string()).map(drop)
    }

    /// How often the process of an operator's pod was started again.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn restarts(pod: &str) -> Result<u64> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        Ok(restarts_of(&kubectl.get("pod", pod)?))
    }

    /// The machine of an operator's pod, and the pod's address.
    ///
    /// # Errors
    /// When there is no such pod.
    pub fn place(pod: &str) -> Result<(String, IpAddr)> {
        let kubectl = Kubectl::in_namespace(&settings::text("OPERATOR_NAMESPACE")?)?;
        let pod = kubectl.get("pod", pod)?;
        let text = |pointer: &str| pod.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let address = text("/status/podIP").parse().context("the pod has no address")?;
        Ok((text("/spec/nodeName").to_owned(), address))
    }

    fn scale(&self, replicas: u64) -> Result<()> {
        self.kubectl.run(&["scale", &self.deployment, &format!("--replicas={replicas}")]).map(drop)
    }
}

/// The pod in whose name the Lease is held; empty: in nobody's.
fn holder(kubectl: &Kubectl) -> Result<String> {
    let lease = kubectl.get("lease", &settings::text("OPERATOR_DEPLOYMENT")?)?;
    let identity = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
    // The pod's name and a number that tells one process of it from the next.
    Ok(identity.rsplit_once('_').map_or("", |(pod, _)| pod).to_owned())
}

fn restarts_of(pod: &Value) -> u64 {
    pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64).unwrap_or(0)
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Err(error) = self.scale(self.replicas) {
            eprintln!("warning: the operator was not brought back ({error:#}); other scenarios will miss it");
        }
    }
}
