//! The operator of the scenarios, and how to take it away for a while.

use std::time::Duration;

use anyhow::Result;

use crate::kubectl::Kubectl;
use crate::settings;
use crate::wait::{self, Seen};

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
            let pods = operator.kubectl.list("pods", "app.kubernetes.io/name=groupcache-operator")?;
            Ok(if pods.is_empty() { Seen::Reached(()) } else { Seen::NotYet(format!("{} pods", pods.len())) })
        })?;
        Ok(operator)
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
