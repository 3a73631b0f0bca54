//! The operator of the scenarios, and how to take it away for a while.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::cachecluster::condition_holds;
use crate::kubectl::Kubectl;
use crate::settings;
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

    fn scale(&self, replicas: u64) -> Result<()> {
        self.kubectl.run(&["scale", &self.deployment, &format!("--replicas={replicas}")]).map(drop)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if let Err(error) = self.scale(self.replicas) {
            eprintln!("warning: the operator was not brought back ({error:#}); other scenarios will miss it");
        }
    }
}
