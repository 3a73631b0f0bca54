//! kubectl, pointed at the cluster of the scenarios.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::program::{self, Said};
use crate::settings;
use crate::wait::{self, Seen};

/// kubectl in one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: String,
    kubeconfig: String,
    namespace: String,
}

impl Kubectl {
    /// The kubectl that `cargo xtask test` names, in a namespace.
    ///
    /// # Errors
    /// When the scenarios were not started by it.
    pub fn in_namespace(namespace: &str) -> Result<Self> {
        let (program, kubeconfig) = (settings::text("KUBECTL")?, settings::text("KUBECONFIG")?);
        Ok(Self { program, kubeconfig, namespace: namespace.to_owned() })
    }

    /// The namespace it works in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The command with some arguments.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--kubeconfig", &self.kubeconfig, "--namespace", &self.namespace]).args(arguments);
        command
    }

    /// Runs it; it must succeed.
    ///
    /// # Errors
    /// When it does not.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        program::output(&mut self.command(arguments), None)
    }

    /// Runs it, whether it succeeds or not.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn said(&self, arguments: &[&str]) -> Result<Said> {
        program::run(&mut self.command(arguments), None)
    }

    /// Applies objects written in YAML.
    ///
    /// # Errors
    /// When the API server refuses one.
    pub fn apply(&self, yaml: &str) -> Result<()> {
        program::output(&mut self.command(&["apply", "--filename", "-"]), Some(yaml)).map(drop)
    }

    /// Applies an object that must be refused; returns what the user is told.
    ///
    /// # Errors
    /// When it is accepted.
    pub fn refused(&self, yaml: &str) -> Result<String> {
        let said = program::run(&mut self.command(&["apply", "--filename", "-"]), Some(yaml))?;
        if said.success {
            bail!("accepted, but it should have been refused:\n{yaml}");
        }
        Ok(said.errors)
    }

    /// One object.
    ///
    /// # Errors
    /// When it is not there.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        parsed(&self.run(&["get", kind, name, "--output", "json"])?)
    }

    /// The objects of a kind with some labels.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub fn list(&self, kind: &str, selector: &str) -> Result<Vec<Value>> {
        let list = parsed(&self.run(&["get", kind, "--selector", selector, "--output", "json"])?)?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// What a path of the API server answers; also pods and Services, through its proxy.
    ///
    /// # Errors
    /// When the answer is no success.
    pub fn raw(&self, path: &str) -> Result<String> {
        self.run(&["get", "--raw", path])
    }

    /// Waits until an object satisfies `reached`; what `shown` says of it is in the error if it never does.
    ///
    /// # Errors
    /// After `limit`.
    pub fn wait(
        &self,
        (kind, name): (&str, &str),
        what: &str,
        limit: Duration,
        reached: impl Fn(&Value) -> bool,
        shown: impl Fn(&Value) -> String,
    ) -> Result<Value> {
        wait::until(&format!("{kind} {name}: {what}"), limit, || {
            let object = self.get(kind, name)?;
            Ok(if reached(&object) { Seen::Reached(object) } else { Seen::NotYet(shown(&object)) })
        })
    }
}

fn parsed(text: &str) -> Result<Value> {
    serde_json::from_str(text).context("kubectl printed no JSON")
}
