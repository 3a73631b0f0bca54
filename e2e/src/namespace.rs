//! A namespace for one scenario: gone when the scenario is, and looked into when the scenario fails.

use std::thread;

use anyhow::Result;

use crate::diagnostics;
use crate::kubectl::Kubectl;
use crate::scenario::Scenario;

/// Deleted when dropped; if the scenario fails, what is in it is written to the logs first.
#[derive(Debug)]
pub struct Namespace {
    /// kubectl in this namespace.
    pub kubectl: Kubectl,
    scenario: &'static str,
}

impl Namespace {
    /// Makes the namespace of a scenario; what a killed run left under the name is removed first.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn create(scenario: &'static str) -> Result<Self> {
        let name = format!("e2e-{}", scenario.replace('_', "-"));
        let kubectl = Kubectl::in_namespace(&name)?;
        kubectl.run(&[
            "delete",
            "namespace",
            &name,
            "--ignore-not-found",
            "--wait=true",
            "--timeout=120s",
        ])?;
        // The strictest profile that Kubernetes has: what we run must fit into it.
        kubectl.apply(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
        ))?;
        Ok(Self { kubectl, scenario })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.kubectl.namespace()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if thread::panicking() {
            match diagnostics::write(&self.kubectl, self.scenario) {
                Ok(folder) => eprintln!(
                    "scenario {}: what was there when it failed is in {}",
                    self.scenario,
                    folder.display()
                ),
                Err(error) => {
                    eprintln!("scenario {}: and its state could not be written: {error:#}", self.scenario);
                }
            }
        }
        let name = self.name().to_owned();
        if let Err(error) =
            self.kubectl.run(&["delete", "namespace", &name, "--wait=false", "--ignore-not-found"])
        {
            eprintln!("warning: namespace {name} was not deleted: {error:#}");
        }
    }
}

/// Tells one scenario in a namespace of its own and prints the line that it returns.
///
/// # Panics
/// When the scenario fails; what was there is written to the logs first.
pub fn scenario(name: &'static str, tell: impl FnOnce(&Kubectl) -> Result<String>) {
    let scenario = Scenario::begin(name);
    let outcome = Namespace::create(name).map(|namespace| match tell(&namespace.kubectl) {
        Ok(summary) => scenario.end(&summary),
        // Here, while the namespace is still there to be looked into.
        Err(error) => panic!("scenario {name} failed: {error:#}"),
    });
    if let Err(error) = outcome {
        panic!("scenario {name} could not begin: {error:#}");
    }
}
